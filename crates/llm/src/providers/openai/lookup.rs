//! What a generation cost, asked afterwards: OpenRouter knows it some seconds after a response that did not say so.

use std::time::Duration;

use reqwest::StatusCode;
use tokio::time::{sleep, timeout};

use super::{Bill, ERROR_BODY_BYTES, OpenAi, read_up_to, reply};
use crate::{CallError, Charge, Response};

/// Before each look-up of a generation, which is known some seconds after its response.
const LOOK_UP_PAUSES: [Duration; 3] = [Duration::from_millis(250), Duration::from_millis(1_000), Duration::from_millis(2_000)];
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(5);

impl OpenAi {
    /// Asks what a generation cost. `None` if that is not to be learned within five seconds.
    async fn look_up(&self, id: &str) -> Option<Bill> {
        let mut url = self.generation_url.clone();
        url.query_pairs_mut().append_pair("id", id);
        let attempts = async {
            for pause in LOOK_UP_PAUSES {
                sleep(pause).await;
                let Ok(response) = self.client.get(url.clone()).send().await else { continue };
                let status = response.status();
                let mut bytes = Vec::new();
                if status.is_success() && read_up_to(response, ERROR_BODY_BYTES, &mut bytes).await.is_ok() {
                    if let Some(bill) = Bill::of_generation(&String::from_utf8_lossy(&bytes)) {
                        return Some(bill);
                    }
                } else if status.is_client_error() && status != StatusCode::NOT_FOUND && status != StatusCode::TOO_MANY_REQUESTS {
                    return None;
                }
            }
            None
        };
        timeout(LOOK_UP_TIMEOUT, attempts).await.ok().flatten()
    }

    /// Fills in what a response cost where it did not say so itself and the provider can be asked.
    pub(super) async fn reconcile(&self, outcome: &mut Result<Response, CallError>, header_id: Option<String>) {
        let (is_unknown, raw) = match outcome {
            Ok(response) => (response.usage.is_none() && response.cost.is_none(), Some(response.raw.as_str())),
            Err(error) => (error.charge == Charge::Unknown, error.raw.as_deref()),
        };
        if !is_unknown {
            return;
        }
        let Some(id) = header_id.or_else(|| reply::generation_id(raw?).map(str::to_owned)) else { return };
        let Some(bill) = self.look_up(&id).await else {
            tracing::debug!(provider = self.name, id, "the cost of a generation could not be looked up");
            return;
        };
        match outcome {
            Ok(response) => (response.usage, response.cost) = (bill.usage, bill.cost),
            Err(error) => error.charge = bill.charge(),
        }
    }
}
