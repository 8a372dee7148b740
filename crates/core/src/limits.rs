//! Every bound of the rules, by name. What is over a bound gets a refusal that names it.

use std::time::Duration;

/// Longest lock name in bytes.
pub const NAME_BYTES_MAX: usize = 512;
/// Longest note in bytes.
pub const NOTE_BYTES_MAX: usize = 1024;
/// Longest owner in bytes.
pub const OWNER_BYTES_MAX: usize = 128;
/// Longest name of an API key in bytes.
pub const KEY_NAME_BYTES_MAX: usize = 128;
/// Shortest request id in bytes: shorter ones are guessed or repeated by accident.
pub const REQUEST_ID_BYTES_MIN: usize = 8;
/// Longest request id in bytes.
pub const REQUEST_ID_BYTES_MAX: usize = 128;
/// Shortest time to live of a grant or session.
pub const TTL_MIN: Duration = Duration::from_millis(100);
/// Longest time to live of a grant or session.
pub const TTL_MAX: Duration = Duration::from_secs(366 * 24 * 3600);
/// Longest wait of one request.
pub const WAIT_MAX: Duration = Duration::from_secs(24 * 3600);
/// Longest `lock_delay`.
pub const LOCK_DELAY_MAX: Duration = Duration::from_secs(60);
/// Longest `at_least`.
pub const AT_LEAST_MAX: Duration = TTL_MAX;
/// Most permits of a semaphore.
pub const PERMITS_MAX: u32 = 1 << 31;
/// Most locks in one request.
pub const LOCKS_IN_REQUEST_MAX: usize = 256;
/// Most waiters of one lock.
pub const QUEUE_MAX: usize = 100_000;
/// Most times one owner may hold one grant.
pub const DEPTH_MAX: u32 = 1_000_000;
/// Transitions kept for each lock.
pub const HISTORY_MAX: usize = 32;
/// Idle locks remembered (their history and latest token).
pub const IDLE_LOCKS_MAX: usize = 100_000;
/// How long an idle lock is remembered.
pub const IDLE_LOCK_KEPT: Duration = Duration::from_secs(24 * 3600);
/// How long a request id is remembered after its grant or place in the queue is gone.
pub const REQUEST_KEPT: Duration = Duration::from_secs(3600);
/// Ended request ids remembered at once; a new one beyond is refused rather than an old one forgotten early.
pub const REQUESTS_KEPT_MAX: usize = 1_000_000;
/// Ended request ids of one API key remembered at once, so that one key cannot use up what all of them have.
pub const REQUESTS_KEPT_PER_KEY_MAX: usize = REQUESTS_KEPT_MAX / 2;
/// Numbers a session may leave out before the lowest counts as given up.
pub const SEQUENCE_GAPS_MAX: usize = 1_024;
/// How long a waiter without a session stays when no answer is open for it.
pub const WAITER_GRACE: Duration = Duration::from_secs(10);
/// Ended leases remembered over all locks, so that a repeated release answers as the first one did.
pub const ENDED_LEASES_MAX: usize = 100_000;
/// Lost grants told to a session in its keep-alives.
pub const LOST_TOLD_MAX: usize = 256;
/// Ended sessions whose reason is remembered.
pub const ENDED_SESSIONS_MAX: usize = 10_000;
/// Sessions of the whole machine.
pub const SESSIONS_MAX: usize = 1_000_000;
/// API keys made at run time.
pub const KEYS_MAX: usize = 10_000;
/// Most entries of one page of a list.
pub const PAGE_MAX: usize = 1_000;
/// Bits of a token below its epoch.
pub const TOKEN_BITS: u32 = 46;
/// Highest epoch: tokens stay below 2⁵³, so that every JSON reader keeps them exact.
pub const EPOCH_MAX: u64 = 127;
