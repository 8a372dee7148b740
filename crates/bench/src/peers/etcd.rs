//! etcd, asked as `etcdctl lock` asks it: a key with a lease below the lock's name, in the order of creation; who is
//! not first watches the one before.

use http::uri::PathAndQuery;
use prost::Message;
use tokio::sync::mpsc::{self, Sender};
use tokio_stream::Stream;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstCodec;

use super::etcd_messages::*;
use crate::BenchError;
use crate::contender::{Client, Contender};
use crate::process::Process;

/// The lease of a client lasts for the whole measurement.
const LEASE_SECONDS: i64 = 3600;
/// Requests of one client's watch under way: it has one watch at a time.
const WATCHES_MAX: usize = 8;
const WATCH: &str = "/etcdserverpb.Watch/Watch";

/// A running etcd.
#[derive(Debug)]
pub(crate) struct Etcd {
    pub(crate) url: String,
    pub(crate) process: Process,
}

impl Contender for Etcd {
    type Client = EtcdClient;

    async fn client(&self, lock: &str) -> Result<EtcdClient, BenchError> {
        let failed = |error| BenchError::answer("etcd: connecting", format!("{error:?}"));
        let endpoint = Endpoint::from_shared(self.url.clone()).map_err(failed)?;
        let channel = endpoint.tcp_nodelay(true).connect().await.map_err(failed)?;
        let mut grpc = Grpc::new(channel);
        let grant = LeaseGrantRequest { ttl_seconds: LEASE_SECONDS };
        let LeaseGrantResponse { id } =
            unary(&mut grpc, "/etcdserverpb.Lease/LeaseGrant", grant).await?;
        let prefix = format!("{lock}/").into_bytes();
        let key = format!("{lock}/{id:x}").into_bytes();
        Ok(EtcdClient { grpc, lease: id, prefix, key, watch: None })
    }

    fn process(&self) -> Option<Process> {
        Some(self.process)
    }
}

/// One connection with its lease and its place below the lock's name.
pub(crate) struct EtcdClient {
    grpc: Grpc<Channel>,
    lease: i64,
    prefix: Vec<u8>,
    key: Vec<u8>,
    /// Opened when the client has to wait for the first time.
    watch: Option<Watch>,
}

struct Watch {
    requests: Sender<WatchRequest>,
    answers: Streaming<WatchResponse>,
}

impl Watch {
    async fn send(&mut self, request: WatchRequest) -> Result<(), BenchError> {
        self.requests.send(request).await.map_err(|_| BenchError::answer(WATCH, "the stream ended"))
    }

    /// Reads until the key watched last is gone, and ends that watch.
    async fn until_deleted(&mut self) -> Result<(), BenchError> {
        loop {
            let answer = self.answers.message().await.map_err(refused(WATCH))?;
            let answer = answer.ok_or_else(|| BenchError::answer(WATCH, "the stream ended"))?;
            if answer.events.iter().any(|event| event.kind == DELETED) {
                let cancel = WatchOp::Cancel(WatchCancelRequest { watch_id: answer.watch_id });
                return self.send(WatchRequest { op: Some(cancel) }).await;
            }
        }
    }
}

impl Client for EtcdClient {
    async fn acquire(&mut self) -> Result<(), BenchError> {
        let entered = self.enter().await?;
        if entered.is_first {
            return Ok(());
        }
        Err(BenchError::answer("etcd: acquire", "held by another"))
    }

    async fn acquire_in_turn(&mut self) -> Result<(), BenchError> {
        let entered = self.enter().await?;
        if entered.is_first {
            return Ok(());
        }
        self.until_first(entered.revision).await?;
        // The recipe's last look: the lease may have run out while we waited.
        let ours = RangeRequest { key: self.key.clone(), ..RangeRequest::default() };
        if self.range(ours).await?.kvs.is_empty() {
            return Err(BenchError::answer("etcd: acquire", "our lease has run out"));
        }
        Ok(())
    }

    async fn release(&mut self) -> Result<(), BenchError> {
        let delete = DeleteRangeRequest { key: self.key.clone() };
        let DeleteRangeResponse { deleted } =
            unary(&mut self.grpc, "/etcdserverpb.KV/DeleteRange", delete).await?;
        if deleted == 1 {
            Ok(())
        } else {
            Err(BenchError::answer("etcd: release", "it was not ours"))
        }
    }
}

/// Our place in the order of creation.
struct Entered {
    revision: i64,
    is_first: bool,
}

impl EtcdClient {
    /// Puts our key, unless it is there, and learns who is first.
    async fn enter(&mut self) -> Result<Entered, BenchError> {
        let absent = Compare {
            target: CompareTarget::Create.into(),
            key: self.key.clone(),
            with: Some(CompareWith::CreateRevision(0)),
        };
        let put = Op::Put(PutRequest { key: self.key.clone(), lease: self.lease });
        let ours = Op::Range(RangeRequest { key: self.key.clone(), ..RangeRequest::default() });
        let first = Op::Range(self.neighbour(SortOrder::Ascend, 0));
        let ops = |ops: [Op; 2]| ops.map(|op| RequestOp { op: Some(op) }).to_vec();
        let txn = TxnRequest {
            compare: vec![absent],
            success: ops([put, first.clone()]),
            failure: ops([ours, first]),
        };
        let done: TxnResponse = unary(&mut self.grpc, "/etcdserverpb.KV/Txn", txn).await?;
        let created = |op: &ResponseOp| op.range.as_ref()?.kvs.first().map(|kv| kv.create_revision);
        let header = done.header.map(|header| header.revision);
        let revision =
            if done.succeeded { header } else { done.responses.first().and_then(created) };
        let revision =
            revision.ok_or_else(|| BenchError::answer("etcd: acquire", "no revision"))?;
        let first = done.responses.get(1).and_then(created);
        Ok(Entered { revision, is_first: first.is_none_or(|first| first == revision) })
    }

    /// Waits until nobody stands before `revision`.
    async fn until_first(&mut self, revision: i64) -> Result<(), BenchError> {
        loop {
            let before = self.range(self.neighbour(SortOrder::Descend, revision - 1)).await?;
            let (Some(last), Some(header)) = (before.kvs.first(), before.header) else {
                return Ok(());
            };
            self.until_deleted(last.key.clone(), header.revision).await?;
        }
    }

    async fn until_deleted(&mut self, key: Vec<u8>, start_revision: i64) -> Result<(), BenchError> {
        let create = WatchOp::Create(WatchCreateRequest { key, start_revision });
        let create = WatchRequest { op: Some(create) };
        match &mut self.watch {
            Some(watch) => watch.send(create).await?,
            None => self.watch = Some(self.open_watch(create).await?),
        }
        let watch = self.watch.as_mut().expect("opened just now, if it was not open");
        watch.until_deleted().await
    }

    /// Opens the stream with its first request in it: the server answers nothing, not even headers, before that.
    async fn open_watch(&mut self, first: WatchRequest) -> Result<Watch, BenchError> {
        let (requests, receiver) = mpsc::channel(WATCHES_MAX);
        requests.try_send(first).expect("the channel is new and empty");
        self.grpc.ready().await.map_err(|error| BenchError::answer(WATCH, error.to_string()))?;
        let path = PathAndQuery::from_static(WATCH);
        let codec = ProstCodec::<WatchRequest, WatchResponse>::default();
        let streamed = self.grpc.streaming(Request::new(Received(receiver)), path, codec).await;
        Ok(Watch { requests, answers: streamed.map_err(refused(WATCH))?.into_inner() })
    }

    async fn range(&mut self, request: RangeRequest) -> Result<RangeResponse, BenchError> {
        unary(&mut self.grpc, "/etcdserverpb.KV/Range", request).await
    }

    /// The first or last key of the lock by creation, up to a revision unless that is 0.
    fn neighbour(&self, order: SortOrder, max_create_revision: i64) -> RangeRequest {
        let mut range_end = self.prefix.clone();
        // The prefix ends in a slash; the character after it ends the range.
        *range_end.last_mut().expect("a prefix is not empty") += 1;
        RangeRequest {
            key: self.prefix.clone(),
            range_end,
            limit: 1,
            sort_order: order.into(),
            sort_target: SortTarget::Create.into(),
            max_create_revision,
        }
    }
}

/// The receiving end of a channel as the stream that gRPC sends.
struct Received(mpsc::Receiver<WatchRequest>);

impl Stream for Received {
    type Item = WatchRequest;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<WatchRequest>> {
        self.0.poll_recv(context)
    }
}

async fn unary<Q, A>(
    grpc: &mut Grpc<Channel>,
    path: &'static str,
    request: Q,
) -> Result<A, BenchError>
where
    Q: Message + 'static,
    A: Message + Default + 'static,
{
    grpc.ready().await.map_err(|error| BenchError::answer(path, error.to_string()))?;
    let codec = ProstCodec::<Q, A>::default();
    let path_only = PathAndQuery::from_static(path);
    let answer = grpc.unary(Request::new(request), path_only, codec).await;
    answer.map(tonic::Response::into_inner).map_err(refused(path))
}

fn refused(doing: &'static str) -> impl FnOnce(Status) -> BenchError {
    move |status| BenchError::answer(doing, status.to_string())
}
