//! Our functions under AWS's own runtime, as processes: what happens when the connection breaks amid a stream, a handler
//! panics or hangs, the platform says that the process is to end. A scripted Runtime API gives them their events.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on fails")]

mod broken_off;
mod ends;
mod on_the_wire;
mod panics;
mod panics_amid_the_books;
mod scene;
mod warm_ups;
