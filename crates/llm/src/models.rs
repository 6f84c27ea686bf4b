//! The models of a pipeline, ready to be asked.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, Once, PoisonError, Weak};

use promptmill_core::pipeline::Structured;
use promptmill_core::{
    AskedModel, BuiltinModel, Error, ModelSpec, Money, Opening, Price, ProviderKind, ProviderSpec, Quote, Registry, Result, Usage,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Map, Value};

use crate::lane::{self, Bounds, Gate, Identity, Lane, Settings, Without};
use crate::providers;
use crate::{Provider, Tokens, quote};

/// A model with everything that is known and learned of it.
#[derive(Debug)]
pub struct Model {
    /// Its name in the pipeline file, or `builtin/…`.
    pub name: Arc<str>,
    /// Its provider's name in the pipeline file, or `builtin`.
    pub provider_name: Arc<str>,
    /// Its name at the provider.
    pub model: Arc<str>,
    /// Whom to ask.
    pub provider: Arc<dyn Provider>,
    /// How the answer's shape is asked for.
    pub structured: Structured,
    /// Merged into every request.
    pub extra_body: Arc<Map<String, Value>>,
    /// The most tokens that prompt and answer may have together.
    pub context: Option<u32>,
    /// What its tokens cost, if that is known.
    pub price: Option<Price>,
    /// Whether the pipeline file itself names a price above 0.
    pub has_own_price: bool,
    /// Whether somebody has been told that the provider calls it free all the same.
    called_free: Once,
    /// Bytes per token, learned.
    pub tokens: Tokens,
    /// Where its requests pass: one lane for everybody who uses the same URL, key and model with the same limits.
    pub gate: Arc<Gate>,
}

impl Model {
    /// Whether it answers in this process, and sends no bill.
    pub fn is_in_process(&self) -> bool {
        &*self.provider_name == BUILTIN
    }

    /// A cost that the provider states, unless it is a nothing that cannot be meant: gateways that have no price for a model
    /// state 0, where the pipeline file names one. Said once.
    pub fn believed(&self, stated: Option<Money>) -> Option<Money> {
        if !self.has_own_price || stated != Some(Money::ZERO) {
            return stated;
        }
        self.called_free.call_once(|| {
            tracing::warn!(
                "provider `{}` states a cost of 0 for model `{}`: what counts is the price that the pipeline file names for it",
                self.provider_name,
                self.name
            );
        });
        None
    }
}

/// The provider's name of what answers in this process; no table of the file has it.
const BUILTIN: &str = "builtin";

/// The lanes of this process; and providers of one's own.
pub struct Models {
    /// Those that somebody has open: what nobody uses any more takes no part in what others share.
    gates: Mutex<HashMap<LaneKey, Weak<Gate>>>,
    /// Whether lanes agree with those of other processes of this machine.
    with_machine: bool,
    own: HashMap<String, Arc<dyn Provider>>,
    kinds: Vec<ProviderKind>,
    builtin: Vec<BuiltinModel>,
    prices: Prices,
    seeds: Mutex<StdRng>,
}

/// What a lane is known by: base URL, key, model; and what the pipeline file says of its limits. Pipelines that
/// say the same share it.
type LaneKey = (String, String, String, (usize, usize, usize), Option<u32>, Option<u64>, bool);

/// Who says what a model's tokens cost.
type Prices = fn(&ModelSpec, Option<&ProviderSpec>) -> Option<Quote>;

impl Default for Models {
    fn default() -> Self {
        Self {
            gates: Mutex::default(),
            with_machine: false,
            own: HashMap::default(),
            kinds: providers::kinds(),
            builtin: Vec::new(),
            prices: quote,
            seeds: Mutex::new(rand::make_rng()),
        }
    }
}

impl fmt::Debug for Models {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Models").finish_non_exhaustive()
    }
}

impl Models {
    /// Models of the providers that a registry lists, and those that it says need none; at its prices: who checks a pipeline
    /// and who runs it ask the same.
    pub fn new(registry: &Registry) -> Self {
        let Registry { providers, models, price, .. } = registry;
        Self { kinds: providers.clone(), builtin: models.clone(), prices: *price, ..Self::default() }
    }

    /// Asks `provider` wherever the pipeline file names the provider `name`.
    #[must_use]
    pub fn with_provider(mut self, name: &str, provider: Arc<dyn Provider>) -> Self {
        self.own.insert(name.to_owned(), provider);
        self
    }

    /// Lets lanes agree with those of other processes of this machine, by small files under the user's state folder.
    #[must_use]
    pub fn with_limits_of_this_machine(mut self) -> Self {
        self.with_machine = true;
        self
    }

    /// Leaves nothing to chance: whoever waits a random time waits the same in every run with this seed.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seeds = Mutex::new(StdRng::seed_from_u64(seed));
        self
    }

    /// A seed for somebody's random numbers, another one every time.
    pub fn seed(&self) -> u64 {
        self.seeds.lock().unwrap_or_else(PoisonError::into_inner).random()
    }

    /// The model that a stage asks.
    ///
    /// # Errors
    /// If its key is not in the environment, or the provider's settings cannot be used.
    pub fn open(&self, asked: &AskedModel, bounds: Bounds) -> Result<Model> {
        let settings = Settings { bounds, rpm: None, tpm: None, shared: false, seed: self.seed(), without: Without::default() };
        let name = asked.name.as_str();
        if let Some(model) = self.builtin.iter().find(|model| model.name == name) {
            // Its answers take the longer the busier this process is with everything else, which fewer of them would not mend.
            let settings = Settings { without: Without { knee: true, ..settings.without }, ..settings };
            return Ok(Model {
                name: name.into(),
                provider_name: BUILTIN.into(),
                model: name.into(),
                provider: Arc::clone(&model.provider),
                structured: Structured::Text,
                extra_body: Arc::default(),
                context: None,
                price: Some(Price::FREE),
                has_own_price: false,
                called_free: Once::new(),
                tokens: Tokens::default(),
                gate: self.gate("", "", name, settings, || Arc::new(Gate::new(Lane::new(settings)))),
            });
        }
        let undeclared = |what: &str, name: &str| Error::failed(format!("{what} `{name}` is not declared"));
        let spec = asked.spec.as_ref().ok_or_else(|| undeclared("model", name))?;
        let provider = asked.provider.as_ref().ok_or_else(|| undeclared("provider", &spec.provider))?;
        let own = self.own.get(&spec.provider);
        let key = provider.api_key_env.as_ref().and_then(|variable| std::env::var(variable).ok()).unwrap_or_default();
        let settings = Settings { rpm: provider.rpm, tpm: provider.tpm, shared: provider.shared, ..settings };
        let open = || {
            let gate = Arc::new(Gate::new(Lane::new(settings)));
            if own.is_none() && self.with_machine {
                lane::join(&gate, Identity { url: &provider.base_url, key: &key, model: &spec.model });
            }
            gate
        };
        let price = (self.prices)(spec, Some(provider)).map(|quote| quote.price);
        let million = Usage { input_tokens: 1_000_000, output_tokens: 1_000_000, ..Usage::default() };
        Ok(Model {
            name: name.into(),
            provider_name: spec.provider.as_str().into(),
            model: spec.model.as_str().into(),
            provider: match own {
                Some(own) => Arc::clone(own),
                None => providers::open(&self.kinds, Opening::new(&spec.provider, provider, spec)?)?,
            },
            structured: spec.structured,
            extra_body: Arc::new(spec.extra_body.clone()),
            context: spec.context,
            has_own_price: spec.price.is_some() && price.as_ref().is_some_and(|price| price.cost(million) > Money::ZERO),
            price,
            called_free: Once::new(),
            tokens: Tokens::default(),
            gate: self.gate(&provider.base_url, &key, &spec.model, settings, open),
        })
    }

    /// The lane that is open under this key, or a new one.
    fn gate(&self, url: &str, key: &str, model: &str, settings: Settings, open: impl FnOnce() -> Arc<Gate>) -> Arc<Gate> {
        let Settings { bounds: Bounds { start, min, max }, rpm, tpm, shared, .. } = settings;
        let key = (url.to_owned(), key.to_owned(), model.to_owned(), (start, min, max), rpm, tpm, shared);
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        gates.retain(|_, gate| gate.strong_count() > 0);
        if let Some(gate) = gates.get(&key).and_then(Weak::upgrade) {
            return gate;
        }
        let gate = open();
        gates.insert(key, Arc::downgrade(&gate));
        gate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(concurrency: usize, models: &Models) -> Arc<Gate> {
        let spec: ModelSpec = serde_json::from_value(serde_json::json!({"provider": "p", "model": "m"})).expect("a model");
        let provider = serde_json::json!({"kind": "openai", "base_url": "http://127.0.0.1:9/v1"});
        let provider: ProviderSpec = serde_json::from_value(provider).expect("a provider");
        let named = AskedModel { name: "m".to_owned(), spec: Some(spec), provider: Some(provider) };
        models.open(&named, Bounds { start: 1, min: 1, max: concurrency }).expect("opens").gate
    }

    #[test]
    fn pipelines_that_say_the_same_share_a_lane_for_as_long_as_one_has_it_open() {
        let models = Models::default();
        let (one, other, narrow) = (asked(8, &models), asked(8, &models), asked(2, &models));
        assert!(Arc::ptr_eq(&one, &other));
        assert!(!Arc::ptr_eq(&one, &narrow), "other bounds are another lane: both take effect");
        let gone = Arc::downgrade(&one);
        drop((one, other));
        assert!(gone.upgrade().is_none(), "nobody keeps what nobody uses");
    }
}
