//! What the compiler promises to those who use threads.

use tenure::{
    Changes, Election, Grant, GrantHandle, Leaders, Leadership, Request, Session, Tenure,
};

fn is_send_and_sync<T: Send + Sync>() {}

#[test]
fn everything_may_go_to_any_thread() {
    is_send_and_sync::<Tenure>();
    is_send_and_sync::<Request<'static>>();
    is_send_and_sync::<Grant>();
    is_send_and_sync::<GrantHandle>();
    is_send_and_sync::<Session>();
    is_send_and_sync::<Election>();
    is_send_and_sync::<Leadership>();
    is_send_and_sync::<Changes>();
    is_send_and_sync::<tenure::ChangeStream>();
    is_send_and_sync::<Leaders>();
    is_send_and_sync::<tenure::Error>();
    is_send_and_sync::<tenure::UpgradeError>();
}
