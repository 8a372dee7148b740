//! All connections: how many, whose, and which of them go first.
//!
//! When it is full, the connection that has been silent longest makes room for the newcomer, so that a holder can
//! always come in to renew or release; one with a request in progress never does. If all are busy (waiting, say), a
//! small reserve is let in for one short answer each.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::Notify;

use crate::config::ConnectionLimits;
use crate::keys::network;
use crate::metrics::{Connection, Metrics};

/// Descriptors that are not for connections: the log's files, the doors, the runtime's.
const DESCRIPTORS_KEPT: usize = 24;
/// Fewest connections, however few descriptors there are.
const CONNECTIONS_MIN: usize = 8;
/// One of so many seats is in the reserve …
const RESERVE_SHARE: usize = 16;
/// … and at least so many, as long as that is not more than half of them.
const RESERVE_MIN: usize = 4;
/// How long a peer may refuse to take what we send.
const STALL_MAX: Duration = Duration::from_secs(30);

/// The connections there are.
pub(crate) struct Crowd {
    limits: ConnectionLimits,
    began: Instant,
    metrics: Metrics,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    seats: HashMap<u64, Arc<Vitals>>,
    per_network: HashMap<IpAddr, usize>,
    next: u64,
}

/// Why there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// All seats are taken by requests in progress.
    House(usize),
    /// All seats of this address are.
    Address(usize),
}

impl Full {
    pub(super) fn limit(self) -> &'static str {
        match self {
            Full::House(_) => "connections",
            Full::Address(_) => "connections_per_address",
        }
    }

    pub(super) fn max(self) -> u64 {
        let (Full::House(max) | Full::Address(max)) = self;
        max as u64
    }
}

/// How one connection is. Times are milliseconds since the crowd began, plus one; zero is "not".
pub(super) struct Vitals {
    began: Instant,
    network: Option<IpAddr>,
    /// In the reserve: one short answer and out.
    pub(super) reserve: bool,
    in_progress: AtomicU32,
    active_at: AtomicU64,
    head_since: AtomicU64,
    blocked_since: AtomicU64,
    multiplexed: AtomicBool,
    /// The next bytes begin a head.
    between: AtomicBool,
    /// The head in progress has two lengths.
    ambiguous: AtomicBool,
    leaving: AtomicU8,
    leave: Notify,
}

const STAY: u8 = 0;
/// After what it owes.
const FINISH: u8 = 1;
/// At once.
const LEAVE: u8 = 2;

/// A connection's place; given back when dropped.
pub(super) struct Seat {
    crowd: Arc<Crowd>,
    number: u64,
    vitals: Arc<Vitals>,
    _counted: Connection,
}

impl Seat {
    pub(super) fn vitals(&self) -> &Arc<Vitals> {
        &self.vitals
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.crowd.open.lock().remove(self.number);
    }
}

impl Crowd {
    pub(crate) fn new(limits: ConnectionLimits, metrics: Metrics) -> Arc<Self> {
        Arc::new(Crowd { limits, began: Instant::now(), metrics, open: Mutex::default() })
    }

    /// A place for a connection from `address`.
    pub(super) fn seat(self: &Arc<Self>, address: Option<IpAddr>) -> Result<Seat, Full> {
        let network = address.map(network);
        let mut open = self.open.lock();
        let is_counted = self.limits.loopback_too || !address.is_some_and(|at| at.is_loopback());
        if let Some(of) = network
            && is_counted
            && open.per_network.get(&of).copied().unwrap_or(0) >= self.limits.per_address_max
            && !open.evict(Some(of))
        {
            return Err(Full::Address(self.limits.per_address_max));
        }
        let (total_max, reserved) = (self.limits.total_max, reserved(self.limits.total_max));
        if open.seats.len() + reserved >= total_max {
            open.evict(None);
        }
        if open.seats.len() >= total_max {
            return Err(Full::House(total_max));
        }
        let reserve = open.seats.len() + reserved >= total_max;
        let vitals = Arc::new(Vitals::new(self.began, network, reserve));
        let number = open.add(vitals.clone());
        let counted = self.metrics.connection();
        Ok(Seat { crowd: self.clone(), number, vitals, _counted: counted })
    }

    /// Closes the connection that has been silent longest; false if all are busy.
    pub(super) fn close_the_idlest(&self) -> bool {
        self.open.lock().evict(None)
    }

    /// Closes connections that dawdle. Called at the pace of [`Crowd::pace`].
    pub(crate) fn sweep(&self) {
        let now = since(self.began);
        for vitals in self.open.lock().seats.values() {
            if let Some(how) = vitals.dawdles(now, &self.limits) {
                vitals.ask_to_leave(how);
            }
        }
    }

    /// How often to sweep, so that a time limit is kept to a quarter.
    pub(crate) fn pace(&self) -> Duration {
        let shortest = self.limits.header_timeout.min(self.limits.idle_timeout);
        (shortest / 4).clamp(Duration::from_millis(20), Duration::from_secs(1))
    }

    /// Lets every connection finish what it owes and close.
    pub(crate) fn dismiss(&self) {
        for vitals in self.open.lock().seats.values() {
            vitals.ask_to_leave(FINISH);
        }
    }

    /// Whether nobody is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.metrics.connections() == 0
    }
}

impl Open {
    fn add(&mut self, vitals: Arc<Vitals>) -> u64 {
        if let Some(network) = vitals.network {
            *self.per_network.entry(network).or_default() += 1;
        }
        let number = self.next;
        self.next += 1;
        self.seats.insert(number, vitals);
        number
    }

    fn remove(&mut self, number: u64) {
        let Some(vitals) = self.seats.remove(&number) else { return };
        let Some(network) = vitals.network else { return };
        if let Some(count) = self.per_network.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                self.per_network.remove(&network);
            }
        }
    }

    /// Sends the idlest away, of one network or of all.
    fn evict(&mut self, of: Option<IpAddr>) -> bool {
        let idle = self.seats.iter().filter(|(_, vitals)| {
            vitals.in_progress.load(Relaxed) == 0 && (of.is_none() || vitals.network == of)
        });
        let idlest = idle.min_by_key(|(number, vitals)| (vitals.active_at.load(Relaxed), **number));
        let Some((&number, vitals)) = idlest else { return false };
        vitals.ask_to_leave(LEAVE);
        self.remove(number);
        true
    }
}

impl Vitals {
    fn new(began: Instant, network: Option<IpAddr>, reserve: bool) -> Self {
        let now = since(began);
        Vitals {
            began,
            network,
            reserve,
            in_progress: AtomicU32::new(0),
            active_at: AtomicU64::new(now),
            head_since: AtomicU64::new(now),
            blocked_since: AtomicU64::new(0),
            multiplexed: AtomicBool::new(false),
            between: AtomicBool::new(true),
            ambiguous: AtomicBool::new(false),
            leaving: AtomicU8::new(STAY),
            leave: Notify::new(),
        }
    }

    /// The handshake is done: the time for the first head begins.
    pub(super) fn greeted(&self) {
        self.head_since.store(since(self.began), Relaxed);
    }

    /// Bytes arrived. True if they begin the head of a request.
    pub(super) fn heard(&self) -> bool {
        if !self.between.load(Relaxed) || self.in_progress.load(Relaxed) > 0 {
            return false;
        }
        self.between.store(false, Relaxed);
        if self.multiplexed.load(Relaxed) {
            return false;
        }
        if self.head_since.load(Relaxed) == 0 {
            self.head_since.store(since(self.began), Relaxed);
        }
        true
    }

    /// The head in progress says in two ways how long its body is.
    pub(super) fn distrust(&self) {
        self.ambiguous.store(true, Relaxed);
    }

    /// Whether it does.
    pub(super) fn is_distrusted(&self) -> bool {
        self.ambiguous.load(Relaxed)
    }

    /// The peer takes nothing more for now, or takes it again.
    pub(super) fn blocked(&self, is_blocked: bool) {
        let was = self.blocked_since.load(Relaxed);
        if is_blocked && was == 0 {
            self.blocked_since.store(since(self.began), Relaxed);
        } else if !is_blocked && was != 0 {
            self.blocked_since.store(0, Relaxed);
        }
    }

    /// A request's head has been read. It is in progress until the guard is dropped.
    pub(super) fn begin(self: &Arc<Self>, multiplexed: bool) -> InProgress {
        self.in_progress.fetch_add(1, Relaxed);
        self.head_since.store(0, Relaxed);
        if multiplexed {
            self.multiplexed.store(true, Relaxed);
        }
        InProgress(self.clone())
    }

    /// Resolves when the connection is to end.
    pub(super) async fn asked_to_leave(&self) {
        while self.leaving.load(Relaxed) == STAY {
            self.leave.notified().await;
        }
    }

    /// Whether it may finish what it owes first.
    pub(super) fn may_finish(&self) -> bool {
        self.leaving.load(Relaxed) == FINISH
    }

    fn ask_to_leave(&self, how: u8) {
        self.leaving.fetch_max(how, Relaxed);
        // Kept for whoever asks next, if nobody waits yet.
        self.leave.notify_one();
    }

    /// How it is to leave, if its time is over. One that was only silent is let go politely: a request that arrives at
    /// this very moment is still answered.
    fn dawdles(&self, now: u64, limits: &ConnectionLimits) -> Option<u8> {
        let over = |since: u64, max: Duration| {
            since != 0 && u128::from(now.saturating_sub(since)) > max.as_millis()
        };
        if over(self.blocked_since.load(Relaxed), STALL_MAX) {
            return Some(LEAVE);
        }
        if self.in_progress.load(Relaxed) > 0 {
            return None;
        }
        if over(self.head_since.load(Relaxed), limits.header_timeout) {
            return Some(LEAVE);
        }
        over(self.active_at.load(Relaxed), limits.idle_timeout).then_some(FINISH)
    }
}

/// A request in progress.
pub(super) struct InProgress(Arc<Vitals>);

impl Drop for InProgress {
    fn drop(&mut self) {
        self.0.active_at.store(since(self.0.began), Relaxed);
        self.0.between.store(true, Relaxed);
        self.0.in_progress.fetch_sub(1, Relaxed);
    }
}

fn reserved(total_max: usize) -> usize {
    (total_max / RESERVE_SHARE).max(RESERVE_MIN).min(total_max / 2)
}

fn since(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX - 1) + 1
}

/// Raises the number of descriptors as far as it goes and says how many of them connections may have.
pub(crate) fn descriptors_for_connections() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    // A system that refuses leaves us with what there was.
    let _ = setrlimit(Resource::Nofile, raised);
    let now = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let descriptors = usize::try_from(now).unwrap_or(usize::MAX);
    descriptors.saturating_sub(DESCRIPTORS_KEPT).max(CONNECTIONS_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crowd(total_max: usize, per_address_max: usize) -> Arc<Crowd> {
        let limits = ConnectionLimits {
            total_max,
            per_address_max,
            loopback_too: false,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
        };
        Crowd::new(limits, Metrics::new())
    }

    fn from(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([192, 0, 2, last]))
    }

    fn is_leaving(seat: &Seat) -> bool {
        seat.vitals().leaving.load(Relaxed) == LEAVE
    }

    #[test]
    fn the_idlest_makes_room_and_the_busy_stay() {
        let crowd = crowd(4, 100);
        let busy = crowd.seat(from(1)).unwrap();
        let _request = busy.vitals().begin(false);
        let idle = crowd.seat(from(2)).unwrap();
        let newcomer = crowd.seat(from(3)).unwrap();
        assert!(is_leaving(&idle) && !is_leaving(&busy) && !newcomer.vitals().reserve);
    }

    #[test]
    fn a_house_full_of_requests_has_a_reserve_and_then_no_room() {
        let crowd = crowd(4, 100);
        let mut requests = Vec::new();
        let mut come = |n| {
            let seat = crowd.seat(from(n)).unwrap();
            requests.push(seat.vitals().begin(false));
            seat
        };
        let seats = [come(1), come(2), come(3), come(4)];
        assert_eq!(seats.each_ref().map(|seat| seat.vitals().reserve), [false, false, true, true]);
        assert_eq!(crowd.seat(from(5)).err(), Some(Full::House(4)));
        requests.pop();
        let newcomer = crowd.seat(from(5)).unwrap();
        assert!(newcomer.vitals().reserve, "a seat of the reserve stays one");
    }

    #[test]
    fn one_address_cannot_fill_the_house() {
        let crowd = crowd(100, 2);
        let seats = [crowd.seat(from(1)).unwrap(), crowd.seat(from(1)).unwrap()];
        let requests = seats.each_ref().map(|seat| seat.vitals().begin(false));
        assert_eq!(crowd.seat(from(1)).err(), Some(Full::Address(2)));
        assert!(crowd.seat(from(2)).is_ok());
        drop(requests);
        assert!(crowd.seat(from(1)).is_ok());
        assert!(is_leaving(&seats[0]) || is_leaving(&seats[1]));
        for loopback in ["127.0.0.1", "::1"] {
            let loopback = Some(loopback.parse().unwrap());
            let proxied: Vec<_> = (0..5).map(|_| crowd.seat(loopback).unwrap()).collect();
            assert!(!proxied.iter().any(is_leaving));
        }
    }

    #[test]
    fn a_full_address_costs_only_its_own_and_who_left_is_not_counted() {
        let crowd = crowd(100, 2);
        let neighbour = crowd.seat(from(9)).unwrap();
        let seats = [crowd.seat(from(1)).unwrap(), crowd.seat(from(1)).unwrap()];
        let requests = seats.each_ref().map(|seat| seat.vitals().begin(false));
        assert_eq!(crowd.seat(from(1)).err(), Some(Full::Address(2)));
        assert!(!is_leaving(&neighbour), "another address makes no room");
        drop((requests, seats));
        let _again = [1, 1].map(|n| crowd.seat(from(n)).unwrap().vitals().begin(false));
        assert_eq!(crowd.open.lock().per_network.len(), 1, "only the neighbour is here");
    }

    #[test]
    fn whoever_was_heard_last_stays() {
        let crowd = crowd(4, 100);
        let (first, second) = (crowd.seat(from(1)).unwrap(), crowd.seat(from(2)).unwrap());
        let before = since(crowd.began);
        while since(crowd.began) == before {
            std::thread::yield_now();
        }
        drop(first.vitals().begin(false));
        let _newcomer = crowd.seat(from(3)).unwrap();
        assert!(is_leaving(&second) && !is_leaving(&first));
    }

    #[test]
    fn who_is_to_leave_at_once_may_not_finish_later() {
        let crowd = crowd(10, 10);
        let seat = crowd.seat(from(1)).unwrap();
        crowd.dismiss();
        assert!(seat.vitals().may_finish());
        seat.vitals().ask_to_leave(LEAVE);
        crowd.dismiss();
        assert!(!seat.vitals().may_finish());
    }

    #[test]
    fn a_head_has_its_time_and_silence_another() {
        let crowd = crowd(10, 10);
        let limits = &crowd.limits;
        let seat = crowd.seat(from(1)).unwrap();
        let vitals = seat.vitals();
        assert_eq!(vitals.dawdles(9_000, limits), None);
        assert_eq!(vitals.dawdles(11_000, limits), Some(LEAVE));
        drop(vitals.begin(false));
        assert_eq!(vitals.dawdles(60_000, limits), None, "between requests the longer time counts");
        assert_eq!(vitals.dawdles(76_000, limits), Some(FINISH));
        vitals.heard();
        assert_eq!(vitals.dawdles(11_000, limits), Some(LEAVE), "a head that has begun must end");
        let _request = vitals.begin(false);
        assert_eq!(vitals.dawdles(500_000, limits), None, "a waiting request is no dawdler");
        vitals.blocked(true);
        assert_eq!(vitals.dawdles(31_000, limits), Some(LEAVE), "but one that takes no answer is");
        vitals.blocked(false);
        assert_eq!(vitals.dawdles(31_000, limits), None);
    }
}
