//! One lane for all processes of a host.
//!
//! Processes that use the same key would each find "the limit" on their own, and one that sits exactly at it
//! starves whoever comes later. So they share a board: who is there, and what the one that leads has learned.
//! Each takes an equal share; the leader, who has been there longest, makes the tests for all. A process that
//! has not been seen for a while has gone, however it ended.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Memory;

/// Seconds between two looks at the board.
pub const BEAT: f64 = 1.0;
/// Seconds after which a process that was not seen has gone.
pub const LEASE: f64 = 5.0;
/// Seconds for which a lane's memory is worth something to a new process.
const FRESH: f64 = 600.0;

/// Who uses a lane, and what is known of it. Times are in seconds of a clock that all processes share.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Board {
    holders: BTreeMap<String, Holder>,
    memory: Option<Memory>,
    updated: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Holder {
    since: f64,
    seen: f64,
    /// Refusals that it met, for the leader to learn of.
    refused: u64,
    /// Requests that it has in flight: what a limit is worth shows only while everybody uses his share.
    #[serde(default)]
    in_flight: usize,
}

/// A process's part of a lane.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// Of requests, tokens and places.
    pub share: f64,
    /// Whether this process makes the tests.
    pub leads: bool,
    /// What is known: by the leader now, or by whoever used the lane last; `None` if that is long ago.
    pub memory: Option<Memory>,
    /// Refusals that the other processes have met so far.
    pub refused_elsewhere: u64,
    /// Requests that they have in flight.
    pub in_flight_elsewhere: usize,
}

impl Board {
    /// Says that `who` is there, with what it knows, the refusals that it met and what it has in flight; returns its part.
    pub fn beat(&mut self, who: &str, now: f64, memory: Option<&Memory>, refused: u64, in_flight: usize) -> Share {
        // A clock that jumps back must not keep the dead alive for ever.
        self.holders.retain(|name, holder| name == who || (now - holder.seen).abs() < LEASE);
        let holder = self.holders.entry(who.to_owned()).or_insert(Holder { since: now, seen: now, refused, in_flight });
        *holder = Holder { seen: now, refused, in_flight, ..*holder };
        let leads = self.leader() == Some(who);
        if let Some(memory) = memory.filter(|_| leads) {
            self.memory = Some(*memory);
            self.updated = now;
        }
        let others = || self.holders.iter().filter(|(name, _)| *name != who).map(|(_, holder)| holder);
        Share {
            share: 1.0 / self.holders.len() as f64,
            leads,
            memory: self.memory.filter(|memory| (now - self.updated).abs() < FRESH && is_sound(memory)),
            refused_elsewhere: others().map(|holder| holder.refused).sum(),
            in_flight_elsewhere: others().map(|holder| holder.in_flight).sum(),
        }
    }

    /// Says that `who` goes.
    pub fn leave(&mut self, who: &str) {
        self.holders.remove(who);
    }

    fn leader(&self) -> Option<&str> {
        let oldest = self.holders.iter().min_by(|a, b| a.1.since.total_cmp(&b.1.since).then(a.0.cmp(b.0)))?;
        Some(oldest.0)
    }
}

/// Whether a memory can be true: it comes from a file that anybody may have written, and a lane that started from a
/// limit of nothing would never send.
fn is_sound(memory: &Memory) -> bool {
    let known = memory.pace.iter().chain(&memory.proven).flatten();
    [&memory.limit].into_iter().chain(known).all(|number| number.is_finite() && *number > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memory_that_cannot_be_true_is_none() {
        let sound = Memory { limit: 8.0, pace: [Some(2.0), None], proven: [None, Some(1.0)] };
        let told = |memory| Board { memory: Some(memory), ..Board::default() }.beat("a", 0.0, None, 0, 0).memory;
        assert_eq!(told(sound), Some(sound));
        let limits = [0.0, -4.0, f64::INFINITY, f64::NAN].map(|limit| Memory { limit, ..sound });
        let rates = [Memory { pace: [Some(0.0), None], ..sound }, Memory { proven: [None, Some(-1.0)], ..sound }];
        for memory in limits.into_iter().chain(rates) {
            assert_eq!(told(memory), None, "{memory:?}");
        }
    }

    #[test]
    fn shares_are_equal_and_the_oldest_leads() {
        let mut board = Board::default();
        let memory = Memory { limit: 64.0, ..Memory::default() };
        let alone = board.beat("a", 0.0, Some(&memory), 0, 0);
        assert_eq!((alone.share, alone.leads), (1.0, true));
        let second = board.beat("b", 1.0, None, 0, 0);
        assert_eq!((second.share, second.leads, second.memory), (0.5, false, Some(memory)));
        board.beat("b", 4.0, Some(&Memory::default()), 3, 7);
        let first = board.beat("a", 4.5, Some(&memory), 0, 0);
        assert_eq!((first.share, first.leads, first.refused_elsewhere, first.in_flight_elsewhere), (0.5, true, 3, 7));
        assert_eq!(first.memory, Some(memory), "a follower's view does not replace the leader's");
    }

    #[test]
    fn who_is_killed_loses_the_lease() {
        let mut board = Board::default();
        board.beat("a", 0.0, None, 0, 0);
        board.beat("b", 1.0, None, 0, 0);
        let left = board.beat("b", 6.0, None, 0, 0);
        assert_eq!((left.share, left.leads), (1.0, true));
        board.leave("b");
        assert_eq!(board.beat("c", 7.0, None, 0, 0).share, 1.0);
    }

    #[test]
    fn old_knowledge_is_dropped() {
        let mut board = Board::default();
        board.beat("a", 0.0, Some(&Memory { limit: 4.0, ..Memory::default() }), 0, 0);
        assert!(board.beat("b", 599.0, None, 0, 0).memory.is_some());
        assert!(Board::default().beat("b", 0.0, None, 0, 0).memory.is_none());
        let mut board = Board::default();
        board.beat("a", 0.0, Some(&Memory::default()), 0, 0);
        assert!(board.beat("b", 601.0, None, 0, 0).memory.is_none());
    }
}
