//! A journal in memory that watches the money: never more than the cap, every attempt ended once.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use promptmill_core::{Attempt, Begun, Fingerprint, Journal, Money, Past, Result};
use tokio::time::{Instant, sleep};

/// How long it takes to make something durable.
const DISK: Duration = Duration::from_millis(2);

/// Everything that was begun and ended.
#[derive(Debug)]
pub(crate) struct Ledger {
    opened: Instant,
    cap: Money,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
pub(crate) struct Book {
    open: HashMap<String, Money>,
    spent: Money,
    reserved: Money,
    /// Rows of each request, in the order of leaving, with the second in which it left.
    pub(crate) packs: Vec<(f64, usize)>,
    /// When attempts ended, and how they did.
    pub(crate) ended: Vec<(f64, Attempt)>,
    /// What must not happen.
    pub(crate) broken: Vec<String>,
}

impl Ledger {
    pub(crate) fn new(cap: Option<Money>) -> Self {
        Self { opened: Instant::now(), cap: cap.unwrap_or(Money::MAX), book: Mutex::default() }
    }

    /// What it holds when all is over.
    pub(crate) fn close(&self) -> Book {
        let mut book = std::mem::take(&mut *self.book.lock().expect("no panic under the lock"));
        if !book.open.is_empty() {
            book.broken.push(format!("{} attempts never ended", book.open.len()));
        }
        book
    }

    fn note(&self, change: impl FnOnce(&mut Book, f64)) {
        let mut book = self.book.lock().expect("no panic under the lock");
        change(&mut book, self.opened.elapsed().as_secs_f64());
        if book.spent.saturating_add(book.reserved) > self.cap {
            let message = format!("{} spent and {} reserved of {}", book.spent.nano(), book.reserved.nano(), self.cap.nano());
            book.broken.push(message);
        }
    }
}

#[async_trait]
impl Journal for Ledger {
    async fn begin(&self, begun: &Begun) -> Result<()> {
        sleep(DISK).await;
        self.note(|book, at| {
            if book.open.insert(begun.attempt_id.clone(), begun.reserved).is_some() {
                book.broken.push(format!("{} began twice", begun.attempt_id));
            }
            book.reserved += begun.reserved;
            book.packs.push((at, begun.keys.len()));
        });
        Ok(())
    }

    async fn end(&self, attempt: &Attempt) -> Result<()> {
        sleep(DISK).await;
        self.note(|book, at| {
            match book.open.remove(&attempt.begun.attempt_id) {
                Some(reserved) => book.reserved -= reserved,
                None => book.broken.push(format!("{} ended without a beginning", attempt.begun.attempt_id)),
            }
            let cost = attempt.cost.unwrap_or_default();
            if cost > attempt.begun.reserved {
                book.broken.push(format!(
                    "{} cost {} of {} reserved",
                    attempt.begun.attempt_id,
                    cost.nano(),
                    attempt.begun.reserved.nano()
                ));
            }
            book.spent += cost;
            book.ended.push((at, attempt.clone()));
        });
        Ok(())
    }

    async fn past(&self, rows: &[(&str, Fingerprint)]) -> Result<Vec<Vec<Past>>> {
        Ok(vec![Vec::new(); rows.len()])
    }

    fn spent(&self) -> Money {
        Money::ZERO
    }
}
