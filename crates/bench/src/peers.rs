//! Other lock servers, each asked the way its own users ask it.

pub(crate) mod etcd;
mod etcd_messages;
pub(crate) mod launch;
pub(crate) mod redis;
