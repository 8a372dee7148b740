//! The changes of the machine in commit order, kept for a while for readers that come back.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tenure_core::{Action, Change, Revision, SessionId};
use tokio::sync::{mpsc, watch};

/// Bytes of changes kept.
const KEPT_BYTES_MAX: usize = 64 << 20;
/// Changes behind which a subscriber that had caught up is cut off.
pub(crate) const BEHIND_MAX: u64 = 100_000;
/// Changes in one event.
const EVENT_CHANGES_MAX: usize = 256;
/// Bytes in one block, and one change more: what is forgotten at once. With a change of usual size it stays below 16 KiB,
/// which is a size that allocators have; the next is a quarter larger.
const BLOCK_BYTES: usize = 15 * 1024 + 512;
/// Changes that wait for the reader of one session; with one more it is cut off.
const SESSION_NEWS_MAX: usize = 1_024;

/// A place in the feed of changes. Its text, `<epoch>-<revision>`, is opaque to clients; `0` is the oldest kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cursor {
    epoch: u64,
    revision: u64,
}

impl Cursor {
    /// Before the oldest change kept.
    pub const OLDEST: Cursor = Cursor { epoch: 0, revision: 0 };
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Cursor::OLDEST {
            return f.write_str("0");
        }
        write!(f, "{}-{}", self.epoch, self.revision)
    }
}

/// The text is not a cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a cursor is `0` or one that a feed told")]
pub struct NotACursor;

impl FromStr for Cursor {
    type Err = NotACursor;

    fn from_str(text: &str) -> Result<Self, NotACursor> {
        if text == "0" {
            return Ok(Cursor::OLDEST);
        }
        let (epoch, revision) = text.split_once('-').ok_or(NotACursor)?;
        let number = |digits: &str| digits.parse().map_err(|_| NotACursor);
        let cursor = Cursor { epoch: number(epoch)?, revision: number(revision)? };
        // One place has one spelling.
        if cursor.to_string() == text { Ok(cursor) } else { Err(NotACursor) }
    }
}

/// What a subscriber hears next.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Changes in commit order, each with the place after it.
    Changes(Vec<(Cursor, Change)>),
    /// Changes are missing between the last place and this one: read the state again; the feed goes on from here.
    Resync(Cursor),
    /// The subscriber was too far behind and is cut off. The last event.
    Slow,
    /// The node stops. The last event.
    Stopping,
}

/// A reader of changes.
pub struct Subscription {
    ring: Arc<Mutex<Ring>>,
    news: watch::Receiver<()>,
    at: Cursor,
    // Changes before this place are missing, and the reader was not told yet.
    gap: bool,
    // Whether it has been at the end once: from then on it is slow rather than late.
    caught_up: bool,
    // Where in which block the next change begins, so that nothing is decoded twice.
    mark: Mark,
    // Only what befalls one session.
    session: Option<Listening>,
}

/// A reader of one session. There are as many of these as there are clients, so none of them is woken by the changes
/// of others: at the end of the ring it leaves it and is told by name.
struct Listening {
    id: SessionId,
    news: Option<mpsc::Receiver<(Cursor, Change)>>,
}

/// A place in a block: the revision before the block, and the byte.
type Mark = (u64, usize);

impl Subscription {
    /// Waits for what comes next. Cancel-safe.
    pub async fn next(&mut self) -> Event {
        loop {
            if let Some(news) = self.session.as_mut().and_then(|session| session.news.as_mut()) {
                return match news.recv().await {
                    Some(told) => Event::Changes(vec![told]),
                    None if self.ring.lock().closed => Event::Stopping,
                    None => Event::Slow,
                };
            }
            // Seen before the look, so that what comes after it wakes.
            self.news.borrow_and_update();
            if let Some(event) = self.look() {
                return event;
            }
            if self.session.as_ref().is_some_and(|session| session.news.is_some()) {
                continue;
            }
            if self.news.changed().await.is_err() {
                return Event::Stopping;
            }
        }
    }

    fn look(&mut self) -> Option<Event> {
        let mut ring = self.ring.lock();
        let end = ring.end();
        if self.gap || self.at.epoch != end.epoch {
            (self.gap, self.at) = (false, end);
            return Some(Event::Resync(end));
        }
        let behind = end.revision.saturating_sub(self.at.revision);
        if behind == 0 {
            self.caught_up = true;
            if ring.closed {
                return Some(Event::Stopping);
            }
            if let Some(session) = &mut self.session {
                session.news = Some(ring.listen(session.id));
            }
            return None;
        }
        let missed = self.at.revision < ring.before_oldest();
        if self.caught_up && (missed || behind > BEHIND_MAX) {
            return Some(Event::Slow);
        }
        if missed {
            self.at = end;
            return Some(Event::Resync(end));
        }
        let mut changes = ring.after(self.at.revision, &mut self.mark);
        self.at = changes.last().map_or(end, |(cursor, _)| *cursor);
        if let Some(session) = &self.session {
            changes.retain(|(_, change)| befalls(change) == Some(session.id));
        }
        Some(Event::Changes(changes))
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("at", &self.at).finish_non_exhaustive()
    }
}

/// The session that must hear of a change: of what is done to it, not of what it does itself.
fn befalls(change: &Change) -> Option<SessionId> {
    match change {
        Change::SessionEnded { id, .. } => Some(*id),
        Change::Lock(change) => match change.action {
            Action::Expired
            | Action::SessionEnded
            | Action::Broken
            | Action::Recalled
            | Action::HandedOver => change.session,
            _ => None,
        },
    }
}

/// The feed itself.
pub(crate) struct Feed {
    ring: Arc<Mutex<Ring>>,
    news: watch::Sender<()>,
}

struct Ring {
    // Set above the machine's epoch where revisions begin anew with every process.
    life: u64,
    epoch: u64,
    last: u64,
    blocks: VecDeque<Block>,
    changes: usize,
    bytes: usize,
    kept: Duration,
    changes_max: usize,
    closed: bool,
    // Readers of one session that have caught up.
    sessions: HashMap<SessionId, Vec<mpsc::Sender<(Cursor, Change)>>>,
}

// Encoded, because a change in memory is several times its size on the wire.
struct Block {
    before: u64,
    changes: usize,
    bytes: Vec<u8>,
    since: Instant,
}

impl Feed {
    /// A feed that keeps changes for a time and up to a number. `life` tells logs apart that do not outlive their
    /// process; 0 for those that do.
    pub(crate) fn new(kept: Duration, changes_max: usize, life: u64) -> Self {
        let ring = Ring {
            life,
            epoch: 0,
            last: 0,
            blocks: VecDeque::new(),
            changes: 0,
            bytes: 0,
            kept,
            changes_max,
            closed: false,
            sessions: HashMap::new(),
        };
        Feed { ring: Arc::new(Mutex::new(ring)), news: watch::Sender::new(()) }
    }

    /// Starts again after the change `revision` of `epoch`; nothing before it is kept.
    pub(crate) fn restart(&self, epoch: u64, revision: Revision) {
        let mut ring = self.ring.lock();
        (ring.epoch, ring.last) = (epoch, revision.0);
        ring.forget_all();
        drop(ring);
        self.news.send_replace(());
    }

    /// Adds what a batch changed; `epoch` and `revision` are the machine's after it.
    pub(crate) fn push(&self, epoch: u64, revision: Revision, changes: &[Change], now: Instant) {
        let mut ring = self.ring.lock();
        if ring.epoch != epoch {
            ring.epoch = epoch;
            ring.forget_all();
            ring.last = revision.0;
            return;
        }
        for change in changes {
            ring.push(change, now);
        }
        ring.forget_old(now);
    }

    /// Wakes subscribers.
    pub(crate) fn tell(&self) {
        if self.news.receiver_count() > 0 {
            self.news.send_replace(());
        }
    }

    /// The place after the last change.
    pub(crate) fn end(&self) -> Cursor {
        self.ring.lock().end()
    }

    /// The place after a change.
    pub(crate) fn place(&self, revision: Revision) -> Cursor {
        Cursor { revision: revision.0, ..self.end() }
    }

    /// Reads on from a place what befalls one session.
    pub(crate) fn subscribe_session(&self, id: SessionId, after: Cursor) -> Subscription {
        let session = Some(Listening { id, news: None });
        Subscription { session, ..self.subscribe(Some(after)) }
    }

    /// Reads on from a place; `None`: from now.
    pub(crate) fn subscribe(&self, after: Option<Cursor>) -> Subscription {
        let ring = self.ring.lock();
        let end = ring.end();
        let oldest = Cursor { revision: ring.before_oldest(), ..end };
        drop(ring);
        let (at, gap) = match after {
            None => (end, false),
            Some(Cursor::OLDEST) => (oldest, false),
            Some(at) => {
                let kept = at.epoch == end.epoch
                    && (oldest.revision..=end.revision).contains(&at.revision);
                if kept { (at, false) } else { (end, true) }
            }
        };
        let (ring, news) = (self.ring.clone(), self.news.subscribe());
        Subscription { ring, news, at, gap, caught_up: false, mark: (0, 0), session: None }
    }

    /// Nothing comes any more.
    pub(crate) fn close(&self) {
        let mut ring = self.ring.lock();
        ring.closed = true;
        ring.sessions.clear();
        drop(ring);
        self.news.send_replace(());
    }
}

impl Ring {
    fn end(&self) -> Cursor {
        // One more than the machine's, so that no place is written like the oldest.
        Cursor { epoch: self.life + self.epoch + 1, revision: self.last }
    }

    fn before_oldest(&self) -> u64 {
        self.blocks.front().map_or(self.last, |block| block.before)
    }

    fn push(&mut self, change: &Change, now: Instant) {
        let before = self.last;
        self.last = change.revision().0;
        self.tell_session(change);
        if self.blocks.back().is_none_or(|block| block.bytes.len() >= BLOCK_BYTES) {
            if let Some(full) = self.blocks.back_mut() {
                full.bytes.shrink_to_fit();
            }
            self.blocks.push_back(Block { before, changes: 0, bytes: Vec::new(), since: now });
        }
        let block = self.blocks.back_mut().expect("there is one now");
        let old = block.bytes.len();
        block.bytes = postcard::to_extend(change, std::mem::take(&mut block.bytes))
            .expect("plain data can be encoded");
        block.changes += 1;
        self.bytes += block.bytes.len() - old;
        self.changes += 1;
    }

    fn tell_session(&mut self, change: &Change) {
        let Some(id) = befalls(change) else { return };
        let cursor = self.end();
        let Some(readers) = self.sessions.get_mut(&id) else { return };
        // One that is too slow, or gone, hears no more.
        readers.retain(|reader| reader.try_send((cursor, change.clone())).is_ok());
        if readers.is_empty() || matches!(change, Change::SessionEnded { .. }) {
            self.sessions.remove(&id);
        }
    }

    fn listen(&mut self, id: SessionId) -> mpsc::Receiver<(Cursor, Change)> {
        let (sender, receiver) = mpsc::channel(SESSION_NEWS_MAX);
        let readers = self.sessions.entry(id).or_default();
        readers.retain(|reader| !reader.is_closed());
        readers.push(sender);
        receiver
    }

    // Age is that of a block's first change: a block is kept until its youngest might have been old enough.
    fn forget_old(&mut self, now: Instant) {
        while let Some(oldest) = self.blocks.front() {
            let next = self.blocks.get(1).map(|block| block.since);
            let aged = next.is_some_and(|next| now.saturating_duration_since(next) > self.kept);
            let over = self.changes > self.changes_max || self.bytes > KEPT_BYTES_MAX;
            // The block that is being filled stays.
            let crowded = over && self.changes > oldest.changes;
            if !(aged || crowded) {
                break;
            }
            let gone = self.blocks.pop_front().expect("it was just looked at");
            self.changes -= gone.changes;
            self.bytes -= gone.bytes.len();
        }
    }

    fn forget_all(&mut self) {
        self.blocks.clear();
        (self.changes, self.bytes) = (0, 0);
        // Their readers come again and are told of the gap.
        self.sessions.clear();
    }

    fn after(&self, revision: u64, mark: &mut Mark) -> Vec<(Cursor, Change)> {
        let first = self.blocks.partition_point(|block| block.before <= revision).max(1) - 1;
        let mut found = Vec::new();
        for block in self.blocks.iter().skip(first) {
            let mut at = if mark.0 == block.before { mark.1 } else { 0 };
            while at < block.bytes.len() && found.len() < EVENT_CHANGES_MAX {
                let (change, rest) = postcard::take_from_bytes::<Change>(&block.bytes[at..])
                    .expect("what was encoded can be decoded");
                at = block.bytes.len() - rest.len();
                if change.revision().0 > revision {
                    let cursor = Cursor { revision: change.revision().0, ..self.end() };
                    found.push((cursor, change));
                }
            }
            *mark = (block.before, at);
            if found.len() >= EVENT_CHANGES_MAX {
                break;
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tenure_core::{LockChange, LockName, SessionEnd};

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn change(revision: u64) -> Change {
        change_of(revision, revision)
    }

    fn change_of(revision: u64, session: u64) -> Change {
        let (id, reason) = (SessionId(session), SessionEnd::Closed);
        Change::SessionEnded { revision: Revision(revision), id, reason }
    }

    fn push(feed: &Feed, revisions: std::ops::RangeInclusive<u64>) {
        let now = Instant::now();
        for revision in revisions {
            feed.push(0, Revision(revision), &[change(revision)], now);
        }
        feed.tell();
    }

    fn feed(changes_max: usize) -> Feed {
        let feed = Feed::new(HOUR, changes_max, 0);
        feed.restart(0, Revision(0));
        feed
    }

    fn heard(subscription: &mut Subscription) -> Vec<u64> {
        match subscription.next().now_or_never() {
            Some(Event::Changes(changes)) => {
                changes.iter().map(|(_, change)| change.revision().0).collect()
            }
            None => Vec::new(),
            Some(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_cursor_is_read_back() {
        for text in ["0", "1-0", "3-77"] {
            assert_eq!(text.parse::<Cursor>().unwrap().to_string(), text);
        }
        for text in ["", "-", "1", "1-", "1-x", "01-2", "0-0", "1-+2", "-1-2"] {
            assert_eq!(text.parse::<Cursor>(), Err(NotACursor), "{text}");
        }
    }

    #[test]
    fn a_reader_resumes_after_its_cursor_without_a_gap() {
        let feed = feed(1_000);
        push(&feed, 1..=5);
        let mut subscription = feed.subscribe(Some("1-2".parse().unwrap()));
        assert_eq!(heard(&mut subscription), [3, 4, 5]);
        assert!(heard(&mut subscription).is_empty());
        push(&feed, 6..=6);
        assert_eq!(heard(&mut subscription), [6]);
        assert_eq!(heard(&mut feed.subscribe(Some(Cursor::OLDEST))), [1, 2, 3, 4, 5, 6]);
        assert!(heard(&mut feed.subscribe(None)).is_empty());
    }

    #[test]
    fn long_history_comes_in_pieces() {
        let feed = feed(100_000);
        push(&feed, 1..=10_000);
        let mut subscription = feed.subscribe(Some(Cursor::OLDEST));
        let mut all = Vec::new();
        while all.len() < 10_000 {
            all.extend(heard(&mut subscription));
        }
        assert!(all.iter().copied().eq(1..=10_000));
    }

    #[test]
    fn a_reader_from_before_the_oldest_change_is_told_to_read_again() {
        let feed = feed(1_000);
        push(&feed, 1..=20_000);
        for text in ["1-1", "2-5", "1-20001", "7-0"] {
            let mut subscription = feed.subscribe(Some(text.parse().unwrap()));
            let event = subscription.next().now_or_never();
            assert_eq!(event, Some(Event::Resync(feed.end())), "{text}");
            assert!(heard(&mut subscription).is_empty());
        }
    }

    #[test]
    fn a_reader_that_comes_too_late_reads_again_and_one_that_was_there_is_cut_off() {
        let feed = feed(1_000);
        let mut late = feed.subscribe(Some(Cursor::OLDEST));
        let mut there = feed.subscribe(Some(Cursor::OLDEST));
        assert!(heard(&mut there).is_empty());
        push(&feed, 1..=50_000);
        assert_eq!(late.next().now_or_never(), Some(Event::Resync(feed.end())));
        assert_eq!(there.next().now_or_never(), Some(Event::Slow));
    }

    #[test]
    fn a_change_has_its_own_place() {
        let feed = feed(1_000);
        push(&feed, 1..=3);
        assert_eq!(feed.place(Revision(2)).to_string(), "1-2");
    }

    #[test]
    fn a_block_is_kept_until_its_youngest_change_is_too_old() {
        let feed = feed(100_000);
        let start = Instant::now();
        feed.push(0, Revision(1), &[change(1)], start);
        let minutes = |minutes: u64| start + Duration::from_secs(60 * minutes);
        let many: Vec<Change> = (2..=10_000).map(change).collect();
        feed.push(0, Revision(10_000), &many, minutes(50));
        feed.push(0, Revision(10_001), &[change(10_001)], minutes(70));
        assert_eq!(
            heard(&mut feed.subscribe(Some(Cursor::OLDEST)))[0],
            1,
            "its block has changes of 20 minutes ago"
        );
        feed.push(0, Revision(10_002), &[change(10_002)], minutes(111));
        let oldest = heard(&mut feed.subscribe(Some(Cursor::OLDEST)))[0];
        assert!(oldest > 1, "{oldest} is the oldest after an hour");
    }

    #[test]
    fn large_changes_are_kept_up_to_their_bytes() {
        let feed = feed(1_000_000);
        let note = tenure_core::Note::new("x".repeat(1024)).unwrap();
        let large = |revision| match broken(revision, 7) {
            Change::Lock(change) => Change::Lock(LockChange { note: Some(note.clone()), ..change }),
            other => other,
        };
        let count = (KEPT_BYTES_MAX / 1024) as u64 + 1_000;
        for revision in 1..=count {
            feed.push(0, Revision(revision), &[large(revision)], Instant::now());
        }
        assert!(feed.ring.lock().bytes <= KEPT_BYTES_MAX);
        assert!(heard(&mut feed.subscribe(Some(Cursor::OLDEST)))[0] > 1);
    }

    #[test]
    fn changes_are_kept_up_to_their_number_and_age() {
        let feed = feed(1_000);
        push(&feed, 1..=50_000);
        assert!(feed.ring.lock().changes <= 1_000 + BLOCK_BYTES);
        let later = Instant::now() + HOUR * 2;
        feed.push(0, Revision(50_001), &[change(50_001)], later);
        feed.push(0, Revision(50_002), &[change(50_002)], later + HOUR * 2);
        assert!(feed.ring.lock().blocks.len() <= 2);
    }

    #[test]
    fn a_subscriber_that_falls_behind_is_cut_off() {
        let feed = feed(200_000);
        let mut subscription = feed.subscribe(None);
        assert!(heard(&mut subscription).is_empty());
        push(&feed, 1..=BEHIND_MAX + 1);
        assert_eq!(subscription.next().now_or_never(), Some(Event::Slow));
        assert_eq!(subscription.next().now_or_never(), Some(Event::Slow), "and stays so");
    }

    fn broken(revision: u64, session: u64) -> Change {
        happened(Action::Broken, revision, session)
    }

    fn happened(action: Action, revision: u64, session: u64) -> Change {
        Change::Lock(LockChange {
            revision: Revision(revision),
            name: LockName::new("deploy").unwrap(),
            action,
            claim: None,
            token: None,
            owner: None,
            session: Some(SessionId(session)),
            note: None,
            by: None,
            reason: None,
            micros: 0,
        })
    }

    #[test]
    fn a_session_hears_what_befalls_it_and_sleeps_through_the_rest() {
        let feed = feed(1_000);
        let now = Instant::now();
        feed.push(0, Revision(2), &[broken(1, 7), broken(2, 8)], now);
        let mut subscription = feed.subscribe_session(SessionId(7), "1-0".parse().unwrap());
        assert_eq!(heard(&mut subscription), [1], "what it missed comes from the ring");
        let mut next = tokio_test::task::spawn(subscription.next());
        assert!(next.poll().is_pending());
        feed.push(0, Revision(3), &[broken(3, 8)], now);
        feed.tell();
        assert!(!next.is_woken(), "the changes of others wake nobody");
        feed.push(0, Revision(4), &[broken(4, 7)], now);
        assert!(next.is_woken());
        drop(next);
        assert_eq!(heard(&mut subscription), [4]);
        feed.push(0, Revision(5), &[change_of(5, 7)], now);
        assert_eq!(heard(&mut subscription), [5]);
        assert!(feed.ring.lock().sessions.is_empty(), "an ended session leaves nothing behind");
    }

    #[test]
    fn a_session_hears_what_others_do_to_it_and_nothing_that_it_does_itself() {
        use Action::*;
        let feed = feed(1_000);
        let mut subscription = feed.subscribe_session(SessionId(7), feed.end());
        assert!(heard(&mut subscription).is_empty());
        let own = [Granted, Queued, Left, Released, Converted, Resized, Opened];
        let others = [Expired, SessionEnded, Broken, Recalled, HandedOver];
        for (revision, action) in (1..).zip(own.into_iter().chain(others)) {
            let is_heard = others.contains(&action);
            feed.push(0, Revision(revision), &[happened(action, revision, 7)], Instant::now());
            match subscription.next().now_or_never() {
                Some(Event::Changes(changes)) => {
                    assert!(is_heard, "{action:?} is its own doing");
                    assert_eq!(changes[0].0, feed.end(), "told with the place after it");
                }
                other => assert!(!is_heard && other.is_none(), "{action:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_sleeping_session_is_told_of_the_end_and_cut_off_by_a_restart() {
        for restarts in [false, true] {
            let feed = feed(1_000);
            let mut subscription = feed.subscribe_session(SessionId(7), feed.end());
            let mut next = tokio_test::task::spawn(subscription.next());
            assert!(next.poll().is_pending());
            let told = if restarts {
                feed.restart(1, Revision(5));
                Event::Slow
            } else {
                feed.close();
                Event::Stopping
            };
            assert!(next.is_woken());
            assert_eq!(next.poll(), std::task::Poll::Ready(told));
        }
    }

    #[test]
    fn a_sleeping_reader_is_woken_by_a_restart_and_by_the_end() {
        let feed = feed(1_000);
        let mut subscription = feed.subscribe(None);
        let mut next = tokio_test::task::spawn(subscription.next());
        assert!(next.poll().is_pending());
        feed.restart(1, Revision(5));
        assert!(next.is_woken());
        assert_eq!(next.poll(), std::task::Poll::Ready(Event::Resync(feed.end())));
        drop(next);
        let mut next = tokio_test::task::spawn(subscription.next());
        assert!(next.poll().is_pending(), "once it was told it goes on from there");
        feed.close();
        assert!(next.is_woken());
        assert_eq!(next.poll(), std::task::Poll::Ready(Event::Stopping));
    }

    #[test]
    fn a_session_whose_reader_is_too_slow_is_cut_off() {
        let feed = feed(100_000);
        let mut subscription = feed.subscribe_session(SessionId(7), feed.end());
        assert!(heard(&mut subscription).is_empty());
        let last = SESSION_NEWS_MAX as u64 + 1;
        for revision in 1..=last {
            feed.push(0, Revision(revision), &[broken(revision, 7)], Instant::now());
        }
        for revision in 1..last {
            assert_eq!(heard(&mut subscription), [revision]);
        }
        assert_eq!(subscription.next().now_or_never(), Some(Event::Slow));
    }

    #[test]
    fn readers_of_a_session_that_come_and_go_leave_nothing_behind() {
        let feed = feed(1_000);
        for _ in 0..100 {
            assert!(heard(&mut feed.subscribe_session(SessionId(7), feed.end())).is_empty());
        }
        assert_eq!(feed.ring.lock().sessions[&SessionId(7)].len(), 1);
    }

    #[test]
    fn a_raised_epoch_is_a_gap() {
        let feed = feed(1_000);
        push(&feed, 1..=3);
        let mut subscription = feed.subscribe(Some(Cursor::OLDEST));
        assert_eq!(heard(&mut subscription), [1, 2, 3]);
        feed.push(1, Revision(4), &[], Instant::now());
        feed.tell();
        assert_eq!(subscription.next().now_or_never(), Some(Event::Resync(feed.end())));
    }

    #[test]
    fn a_closed_feed_tells_what_it_has_and_then_that_it_stops() {
        let feed = feed(1_000);
        let mut subscription = feed.subscribe(None);
        push(&feed, 1..=1);
        feed.close();
        assert_eq!(heard(&mut subscription), [1]);
        assert_eq!(subscription.next().now_or_never(), Some(Event::Stopping));
    }
}
