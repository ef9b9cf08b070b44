//! The driver: runs one connection to its end.

use std::future::{Future, poll_fn};
use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use pillarbox_proto::{Connection, Session, Todo};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::task::yield_now;
use tokio::time::{self, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::look::Look;
use crate::transcript::Log;

/// Octets read at once. The space for them is on the stack: an idle connection holds none.
pub const READ_OCTETS: usize = 64 * 1024;

/// Octets, read and sent together, after which a connection waits behind those of others. A client that sends without end
/// would otherwise be read from a hundred times in a row, and each step of an honest client would wait for that. Requests
/// count as well ([`REQUEST_OCTETS`]).
pub const TURN_OCTETS: usize = 64 * 1024;

/// As so many octets each request counts that was performed: what a store does at once, without another thread, may take as
/// long as it takes to send them, however short the reply is.
pub const REQUEST_OCTETS: usize = 4 * 1024;

/// After the stop signal, how long the command under way may take: a commit that has begun is finished, a client that
/// does not read or a lock held elsewhere is left behind (C-C9).
pub const STOP_GRACE: Duration = Duration::from_secs(1);

/// How long replies to pipelined commands wait to be sent together with the one that is being worked on.
pub const REPLIES_WAIT_MAX: Duration = Duration::from_millis(20);

/// How long a closed connection is still read from, so that what the client sent in vain does not turn our close into
/// a reset, which could take the last reply from it (RFC 1122 §4.2.2.13).
pub const LINGER: Duration = Duration::from_secs(1);

/// The same once the server stops.
const LINGER_STOPPING: Duration = Duration::from_millis(50);

/// Stands in for no limit: longer than any connection lives.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Performs what one connection's session asks for: where a protocol meets storage, queue and DNS.
///
/// Dropping it is the end of the connection: what it holds is given up, and leaves no trace.
pub trait Backend<S: Session>: Send {
    /// How long a worker looks for the next octets of a client instead of sleeping, where that turns out to be quicker.
    /// Nothing is gained where requests are performed on other threads: those want the core.
    const LOOK_MAX: Duration = Duration::ZERO;

    /// Performs one request. The future is dropped when the server stops and it takes longer than [`STOP_GRACE`].
    fn perform(&mut self, request: S::Request) -> impl Future<Output = S::Answer> + Send;
}

/// Runs one connection to its end. [`Session::IDLE`] bounds how long the client may complete no line (in a text: send
/// no octet), and how long it may take none of a reply; `stop` acts between commands.
///
/// # Errors
/// When the connection breaks. Nothing is left to do then but to forget it.
pub async fn drive<S: Session, B: Backend<S>>(
    mut io: impl AsyncRead + AsyncWrite + Unpin,
    mut connection: Connection<S>,
    mut backend: B,
    stop: &CancellationToken,
    log: &Log,
) -> io::Result<()> {
    let idle = S::IDLE.unwrap_or(FOREVER);
    let mut idle_ends = pin!(sleep(idle));
    let mut stopped = pin!(stop.cancelled());
    let mut stopping = false;
    let mut grace_ends = None;
    let mut in_turn = 0;
    let mut look = Look::new(B::LOOK_MAX);
    loop {
        if in_turn >= TURN_OCTETS {
            in_turn = 0;
            yield_now().await;
        }
        let todo = connection.todo();
        log.entries(connection.take_transcript());
        match todo {
            Todo::Send(replies) => tokio::select! {
                biased;
                sent = send(&mut io, &replies, idle) => {
                    sent?;
                    in_turn += replies.len();
                    idle_ends.as_mut().reset(time::Instant::now() + idle);
                }
                () = grace(stop, &mut grace_ends) => return Ok(()),
            },
            Todo::Perform(request) => {
                let performed = perform(&mut io, &mut connection, &mut backend, request, idle, stop, &mut grace_ends);
                match Box::pin(performed).await? {
                    Performed::Answer(answer) => connection.answered(answer),
                    Performed::Late => connection.abandon(),
                    Performed::Stuck => return Ok(()),
                }
                in_turn += REQUEST_OCTETS;
                idle_ends.as_mut().reset(time::Instant::now() + idle);
            }
            Todo::Receive => {
                if connection.take_progress() {
                    idle_ends.as_mut().reset(time::Instant::now() + idle);
                }
                let begun = Instant::now();
                tokio::select! {
                    biased;
                    () = stopped.as_mut(), if !stopping => {
                        stopping = true;
                        connection.stop();
                    }
                    received = receive(&mut io, &mut connection, look.ends(begun)) => {
                        let octets = received?;
                        look.waited(begun.elapsed());
                        if octets == 0 {
                            connection.ended();
                        }
                        in_turn += octets;
                    }
                    () = idle_ends.as_mut() => connection.idle(),
                }
            }
            Todo::Close => {
                // What the connection held is given up first: who sees the close may log in at once.
                drop(backend);
                return close(io, stop).await;
            }
        }
    }
}

/// What became of a request.
enum Performed<Answer> {
    Answer(Answer),
    /// The server stops, and it took too long.
    Late,
    /// The server stops, and the client took no replies meanwhile.
    Stuck,
}

/// Performs one request. Its own future, on the heap while it runs: a connection that waits for its client does not carry
/// the space for it.
async fn perform<S: Session>(
    io: &mut (impl AsyncRead + AsyncWrite + Unpin),
    connection: &mut Connection<S>,
    backend: &mut impl Backend<S>,
    request: S::Request,
    idle: Duration,
    stop: &CancellationToken,
    grace_ends: &mut Option<time::Instant>,
) -> io::Result<Performed<S::Answer>> {
    let mut performing = pin!(backend.perform(request));
    // A timer costs more than many a request does: without replies that wait there is none.
    if connection.has_replies() {
        tokio::select! {
            biased;
            answer = performing.as_mut() => return Ok(Performed::Answer(answer)),
            () = sleep(REPLIES_WAIT_MAX) => {}
        }
    }
    // What is known by now is not held back by what takes its time. That goes on meanwhile: a client that takes no
    // replies must not keep others from the lock its command waits for.
    let replies = connection.take_replies();
    let taken = AtomicBool::new(false);
    let sending = async {
        send(io, &replies, idle).await?;
        taken.store(true, Ordering::Relaxed);
        io::Result::Ok(())
    };
    tokio::select! {
        biased;
        both = async { tokio::try_join!(sending, async { Ok(performing.await) }) } => Ok(Performed::Answer(both?.1)),
        () = grace(stop, grace_ends) => {
            Ok(if taken.load(Ordering::Relaxed) { Performed::Late } else { Performed::Stuck })
        }
    }
}

/// The time that is left to a connection once the server stops: one [`STOP_GRACE`] for whatever it is doing, however
/// many pieces that has. `ends` keeps when it is over.
async fn grace(stop: &CancellationToken, ends: &mut Option<time::Instant>) {
    stop.cancelled().await;
    sleep_until(*ends.get_or_insert_with(|| time::Instant::now() + STOP_GRACE)).await;
}

/// Reads what is there, without a buffer that would wait with the connection, and hands it on. Gives how many octets
/// there were; 0 at the end of input. Until `look_ends` others on this worker have their turns, but it does not sleep.
async fn receive<S: Session>(
    io: &mut (impl AsyncRead + Unpin),
    connection: &mut Connection<S>,
    look_ends: Instant,
) -> io::Result<usize> {
    let mut poll = |context: &mut Context<'_>| {
        let mut space = [const { MaybeUninit::uninit() }; READ_OCTETS];
        let mut buffer = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut *io).poll_read(context, &mut buffer))?;
        let octets = buffer.filled();
        if !octets.is_empty() {
            connection.received(octets);
        }
        Poll::Ready(Ok(octets.len()))
    };
    while Instant::now() < look_ends {
        if let Poll::Ready(received) = poll_fn(|context| Poll::Ready(poll(context))).await {
            return received;
        }
        yield_now().await;
    }
    poll_fn(poll).await
}

/// Sends everything; the client must take some of it within each `patience`.
async fn send(io: &mut (impl AsyncWrite + Unpin), mut octets: &[u8], patience: Duration) -> io::Result<()> {
    while !octets.is_empty() {
        match timeout(patience, io.write(octets)).await {
            Ok(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => octets = &octets[written?..],
            Err(_elapsed) => return Err(io::ErrorKind::TimedOut.into()),
        }
    }
    io.flush().await
}

/// Closes our side, then reads and drops what still comes until the client closes its own.
pub(crate) async fn close(mut io: impl AsyncRead + AsyncWrite + Unpin, stop: &CancellationToken) -> io::Result<()> {
    io.shutdown().await?;
    let drained = async {
        let mut ends = pin!(sleep_until(time::Instant::now() + LINGER));
        loop {
            tokio::select! {
                read = discard(&mut io) => if read? == 0 { return Ok(()) },
                () = ends.as_mut() => return Ok(()),
            }
        }
    };
    tokio::select! {
        biased;
        drained = drained => drained,
        () = async { stop.cancelled().await; sleep(LINGER_STOPPING).await } => Ok(()),
    }
}

async fn discard(io: &mut (impl AsyncRead + Unpin)) -> io::Result<usize> {
    poll_fn(|context| {
        let mut space = [const { MaybeUninit::uninit() }; 4096];
        let mut buffer = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut *io).poll_read(context, &mut buffer))?;
        Ok(buffer.filled().len()).into()
    })
    .await
}

#[cfg(test)]
#[path = "drive/tests.rs"]
mod tests;
