//! When to stop: SIGINT (Ctrl+C) and SIGTERM (C-C9).

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A token that is cancelled at the first SIGINT or SIGTERM.
///
/// SIGXFSZ is caught too, and means nothing: a write beyond a file size limit then fails like one on a full disk
/// instead of ending the program.
///
/// # Errors
/// When the system takes no handler.
pub fn stop_on_signals() -> io::Result<CancellationToken> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut file_size = signal(SignalKind::from_raw(nix::libc::SIGXFSZ))?;
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            () = async { while file_size.recv().await.is_some() {} } => {}
        }
        stopping.cancel();
    });
    Ok(stop)
}
