//! A server that refuses a connection, or is at fault, closes its side of it too.

use std::time::Duration;

use super::closing::{Seen, connect, connect_for, pending_call};
use super::spawn;
use crate::telegram::wire::{WireEnd, WireError, WireHandle};

const LIMIT: Duration = Duration::from_secs(20);

/// A server that refuses the connection in the middle of a call.
async fn refuse(
    handle: &WireHandle,
    far: &std::net::TcpStream,
) -> (WireError, tokio::task::JoinHandle<Result<Vec<u8>, WireError>>) {
    let call = pending_call(handle, far).await;
    let code = [&4_u32.to_le_bytes()[..], &(-404_i32).to_le_bytes()].concat();
    std::io::Write::write_all(&mut &*far, &code).unwrap();
    let lost = call.await.unwrap().unwrap_err();
    assert!(handle.is_ending() && handle.end().is_none(), "the server may close its side yet");
    let caller = handle.clone();
    (lost, spawn(async move { caller.call(vec![1; 8], LIMIT).await }))
}

#[tokio::test]
async fn a_server_that_refuses_is_given_time_to_close_and_calls_do_not_wait_for_that() {
    let (handle, driver, far, report) = connect().await;
    let driver = spawn(driver);
    let (lost, late) = refuse(&handle, &far).await;
    assert!(matches!(lost, WireError::Lost { end: WireEnd::Transport { code: 404 }, .. }));
    let late = late.await.unwrap().unwrap_err();
    assert!(matches!(late, WireError::Lost { was_sent: false, .. }), "{late}");
    // Whatever it still says.
    std::io::Write::write_all(&mut &far, &[7; 100]).unwrap();
    assert!(report.seen().is_none());
    far.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(matches!(driver.await.unwrap(), WireEnd::Transport { code: 404 }));
    assert!(report.is_confirmed());
    assert_eq!(report.seen(), Some(Seen::Closed), "in good order");
}

#[tokio::test]
async fn one_that_does_not_close_is_left_after_a_while_and_at_once_if_told_so() {
    for is_aborted in [false, true] {
        // An order that were not heard would be waited for in vain.
        let patience = if is_aborted { LIMIT * 100 } else { Duration::from_millis(100) };
        let (handle, driver, far, report) = connect_for(patience).await;
        let driver = spawn(driver);
        refuse(&handle, &far).await;
        if is_aborted {
            handle.abort();
        }
        assert!(matches!(driver.await.unwrap(), WireEnd::Transport { code: 404 }));
        assert!(!report.is_confirmed());
        assert_ne!(report.seen(), Some(Seen::Open), "it was half closed before");
    }
}
