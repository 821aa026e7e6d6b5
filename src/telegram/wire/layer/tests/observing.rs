//! Whoever looks on sees each message, and changes nothing.

use std::sync::Mutex;

use super::*;
use crate::telegram::wire::observer::WireObserver;
use crate::telegram::wire::tests::server::{enclose, gzip};
use crate::telegram::wire::tl::{
    CONTAINER, GZIP_PACKED, NEW_SESSION, PONG, RPC_RESULT, constructor,
};

#[test]
fn each_message_is_shown_as_it_came_and_also_what_comes_twice() {
    let seen = Arc::<Mutex<Vec<(u32, usize)>>>::default();
    let shown = Arc::clone(&seen);
    let mut bench = Bench::opened_with(|start| {
        start.observer = Some(WireObserver::new(move |message| {
            shown.lock().unwrap().push((constructor(message.body), message.depth));
        }));
    });
    let take = || std::mem::take(&mut *seen.lock().unwrap());
    assert_eq!(take(), [(CONTAINER, 0), (NEW_SESSION, 1), (PONG, 1), (RPC_RESULT, 1)]);
    bench.call(1);
    let call = bench.sent().messages[0].id;
    let id = bench.server.next_id();
    let packet = bench.server.seal(&enclose(id, 1, &gzip(&result(call, &ANSWER))));
    bench.hear_raw(&packet).unwrap();
    assert_eq!(take(), [(GZIP_PACKED, 0), (RPC_RESULT, 1)]);
    bench.hear_raw(&packet).unwrap();
    assert_eq!(take(), [(GZIP_PACKED, 0)], "it is not unpacked again");
    assert_eq!(bench.outcomes(), [Outcome::Answer(1, ANSWER.to_vec())]);
}
