//! Bodies, and the scripts by which some of them misbehave.

use crate::limits::Slot;
use crate::wire::Line;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Sleep;

/// One thing that a body does.
enum Step {
    Send(Bytes),
    /// Sends the same bytes so many times.
    Repeat(Bytes, u64),
    Wait(Duration),
    /// The body has been handed over in full.
    Delivered(Box<dyn FnOnce() + Send>),
    /// The connection breaks, or where there is no line of its own only this response.
    Reset(Option<Arc<Line>>),
    /// Nothing more comes, for as long as the client stays.
    Silence,
}

/// The body of any response: most are one piece, some follow a script.
#[derive(Debug)]
pub(crate) enum SimBody {
    Whole(Bytes),
    Scripted(Box<Script>),
}

/// A body that plays its steps in order.
pub(crate) struct Script {
    steps: VecDeque<Step>,
    /// Bytes that the length header promises and that are still to come.
    left: u64,
    sleep: Option<Pin<Box<Sleep>>>,
    /// Kept until the body ends: a stuck answer is a request in flight.
    _slot: Slot,
}

/// Long enough for what was sent to be on its way before a reset overtakes it.
const BEFORE_RESET: Duration = Duration::from_millis(30);

/// Half of `body`, then the connection breaks; `line` is what is cut, none where one connection carries several
/// requests.
pub(crate) fn broken(body: &Bytes, line: Option<Arc<Line>>, slot: Slot) -> SimBody {
    let half = body.slice(..body.len() / 2);
    let steps = vec![Step::Send(half), Step::Wait(BEFORE_RESET), Step::Reset(line)];
    SimBody::scripted(steps, body.len() as u64, slot)
}

/// Half of `body`, then silence until the client leaves.
pub(crate) fn stalled(body: &Bytes, slot: Slot) -> SimBody {
    let half = body.slice(..body.len() / 2);
    SimBody::scripted(vec![Step::Send(half), Step::Silence], body.len() as u64, slot)
}

/// `body` in small pieces over `time`; `delivered` is called with the last.
pub(crate) fn slow(body: &Bytes, time: Duration, slot: Slot, delivered: Box<dyn FnOnce() + Send>) -> SimBody {
    const PIECES: usize = 20;
    let end = |piece: usize| body.len() * piece / PIECES;
    let mut steps = Vec::with_capacity(2 * PIECES);
    for piece in 0..PIECES {
        if piece > 0 {
            steps.push(Step::Wait(time / (PIECES as u32 - 1)));
        }
        steps.push(Step::Send(body.slice(end(piece)..end(piece + 1))));
    }
    steps.push(Step::Delivered(delivered));
    SimBody::scripted(steps, body.len() as u64, slot)
}

/// `body`, a JSON object, with so many megabytes of padding before its first field.
pub(crate) fn padded(body: &Bytes, megabytes: u64, slot: Slot) -> SimBody {
    const BLOCK: &[u8] = &[b'x'; 50_000];
    const BEFORE: &[u8] = br#"{"padding":""#;
    const AFTER: &[u8] = br#"","#;
    let times = megabytes * 20;
    // Its own opening brace is replaced by one that stands before the padding.
    let rest = body.slice(1..);
    let length = (BEFORE.len() + AFTER.len() + rest.len()) as u64 + times * BLOCK.len() as u64;
    let padding = Step::Repeat(Bytes::from_static(BLOCK), times);
    let steps = vec![Step::Send(Bytes::from_static(BEFORE)), padding, Step::Send(Bytes::from_static(AFTER)), Step::Send(rest)];
    SimBody::scripted(steps, length, slot)
}

impl SimBody {
    /// A body of `length` bytes that plays `steps`.
    fn scripted(steps: Vec<Step>, length: u64, slot: Slot) -> Self {
        Self::Scripted(Box::new(Script { steps: steps.into(), left: length, sleep: None, _slot: slot }))
    }
}

impl Body for SimBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut *self {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Scripted(script) => script.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Scripted(script) => script.steps.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            Self::Whole(bytes) => bytes.len() as u64,
            Self::Scripted(script) => script.left,
        })
    }
}

impl Script {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        loop {
            if let Some(sleep) = &mut self.sleep {
                ready!(sleep.as_mut().poll(cx));
                self.sleep = None;
            }
            match self.steps.pop_front() {
                None => return Poll::Ready(None),
                Some(Step::Wait(time)) => self.sleep = Some(Box::pin(tokio::time::sleep(time))),
                Some(Step::Delivered(book)) => book(),
                Some(Step::Silence) => {
                    self.steps.push_front(Step::Silence);
                    return Poll::Pending;
                }
                Some(Step::Reset(line)) => {
                    if let Some(line) = line {
                        line.cut();
                    }
                    return Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into())));
                }
                Some(Step::Repeat(_, 0)) => {}
                Some(Step::Repeat(bytes, times)) => {
                    self.steps.push_front(Step::Repeat(bytes.clone(), times - 1));
                    return self.send(bytes);
                }
                Some(Step::Send(bytes)) => return self.send(bytes),
            }
        }
    }

    fn send(&mut self, bytes: Bytes) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.left = self.left.saturating_sub(bytes.len() as u64);
        // A server may not ask again once the promised bytes are out.
        while self.left == 0 && matches!(self.steps.front(), Some(Step::Delivered(_))) {
            if let Some(Step::Delivered(book)) = self.steps.pop_front() {
                book();
            }
        }
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script").field("steps", &self.steps.len()).field("left", &self.left).finish_non_exhaustive()
    }
}
