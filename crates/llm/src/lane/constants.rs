//! Every constant of the lane, each with its reason. Times are in seconds.

/// Not refused for this long counts as admitted, until the answer says more: servers refuse at once. Three
/// times the usual time of a refusal is waited where that is longer.
pub(super) const ADMITTED_AFTER: f64 = 0.5;
/// How many times the usual time of a refusal.
pub(super) const ADMITTED_AFTER_REFUSALS: f64 = 3.0;
/// Between two looks at what kept requests back: long enough to have seen some, short beside a service time.
pub(super) const WINDOW: f64 = 0.5;
/// The time over which the speed of the lane is a mean.
pub(super) const SPEED_OVER: f64 = 7.0;
/// Cuts closer together than this are a streak, each cut harder than the last.
pub(super) const STREAK: f64 = 10.0;

/// The number in flight doubles in this time while nothing speaks against it. Each request more leaves on its
/// own, so that a cap is overrun by what leaves while the first refusal travels, not by half of the level.
pub(super) const DOUBLING: f64 = 0.5;
/// In flight before a single answer has been seen: beyond it, answers have to show that more is better.
pub(super) const BLIND: f64 = 64.0;
/// Requests a second that a climb starts with where a ceiling was known just before.
pub(super) const GENTLE_CLIMB: f64 = 4.0;
/// Requests a second that it adds where the cap was before it fell: it has most likely risen to the same level, and at
/// the speed of other climbs eight requests leave before the first refusal is here.
pub(super) const BACK_AGAIN: f64 = 8.0;
/// Growth at each look at the board while several processes climb together.
pub(super) const TOGETHER: f64 = 1.25;
/// From a refusal that looks like a cap to its first test.
pub(super) const FIRST_CAP_PROBE: f64 = 2.0;
/// At the least between two tests of a cap, and of a rate.
pub(super) const PROBE_EVERY: f64 = 4.0;
/// At the most, as far as time goes.
pub(super) const PROBE_EVERY_MAX: f64 = 8.0;
/// How much longer each failed test makes the wait for the next.
pub(super) const PROBE_BACKOFF: f64 = 1.5;
/// Requests admitted between two tests, times the refusals that the last one cost: with one refusal a test,
/// 0.5 % of the requests are refused.
pub(super) const PROBE_GATE: f64 = 200.0;
/// The same for a cap, whose test is dearer: what it costs is a request that could have been another's place.
pub(super) const CAP_GATE: f64 = 250.0;
/// A cap that fell lately is likely to rise again: for this long it is tested by time alone.
pub(super) const DISPLACED: f64 = 120.0;
/// What of a cap is left after a refusal near it, if that counts as a fall: of few requests each is much, and what is slow
/// waits long for its next test.
pub(super) const CAP_LOWERED: f64 = 0.9;
/// Between two tests of a cap that fell lately.
pub(super) const DISPLACED_PROBE: f64 = 4.5;
/// What is tried of the level that was refused, when a cap has fallen: a few refusals find any new level, and
/// the search from below costs one more for each halving of what is left.
pub(super) const CAP_CUT: f64 = 0.7;
/// At the least what a refusal leaves of a cap that several processes share: their levels are known roughly only.
pub(super) const CAP_TOGETHER: f64 = 0.95;
/// Refusals below a suspected cap after which it is none: one may be the server's count ahead of ours.
pub(super) const CAP_CONTRADICTIONS: u32 = 2;
/// Refusals below a level that was admitted just before, within this time, that disprove any cap …
pub(super) const PARADOX_MEMORY: f64 = 60.0;
/// … and how many of them.
pub(super) const PARADOXES: usize = 3;
/// What of the difference between two levels may be chance: a request slips into a place that becomes free just then.
pub(super) const PARADOX_SLACK: f64 = 1.5;
/// How much longer than otherwise a cap is not suspected after that.
pub(super) const CAP_DISPROVED: f64 = 280.0;
/// Refusals in a row, each at a level above all that were admitted since the one before, that show a cap where a rate was
/// supposed: under a rate one in a hundred is …
pub(super) const CAP_TOPPED: u32 = 3;
/// … if so many were admitted in between.
pub(super) const CAP_TOPPED_AFTER: u64 = 30;
/// A server's count may differ from ours by this share of it, for what is on its way.
pub(super) const CAP_SLACK: f64 = 0.03;
/// How long a refuted cap is not suspected again.
pub(super) const CAP_REFUTED: f64 = 20.0;

/// Refusals in a row, each alone and none when more was tried, after which they are suspected to be accidents.
pub(super) const ACCIDENTS: u32 = 4;
/// Slower than this, compared with what was admitted between two refusals, the lane is below every limit that may have been met.
pub(super) const ACCIDENTS_BELOW: f64 = 0.9;
/// Slower than this there is no reason to become slower still, while refusals come one by one.
pub(super) const ACCIDENTS_FLOOR: f64 = 0.7;
/// Faster than this, compared with the first, the lane has tried more.
pub(super) const ACCIDENTS_FASTER: f64 = 1.08;
/// Admitted between two that are each alone. A limit that is overrun by a tenth refuses every eleventh.
pub(super) const ACCIDENTS_APART: u64 = 8;
/// Admitted after the last, by which a series has ended: seldom accidents do little harm, and limits are tested so often.
pub(super) const ACCIDENTS_WITHIN: u64 = 150;
/// Instead of [`ACCIDENTS`], where the lane …
pub(super) const ACCIDENTS_SOON: u32 = 2;
/// … goes at less than this share of its highest speed …
pub(super) const ACCIDENTS_SLOW: f64 = 0.6;
/// … in this time.
pub(super) const ACCIDENTS_RECALL: f64 = 600.0;
/// How many times faster the rest after a failed trial passes there.
pub(super) const ACCIDENTS_HASTE: u64 = 4;
/// The speed at which a limit refuses a third, as a multiple of the one that is suspected to be at it: the suspicion is put
/// to a sequential test …
pub(super) const ACCIDENTS_DARED_AT: f64 = 1.5;
/// … if at least so much of it is reached …
pub(super) const ACCIDENTS_DARED: f64 = 1.25;
/// … with somewhat less than the third for it, for the limit may be a little higher …
pub(super) const ACCIDENTS_REFUSED: f64 = 0.25;
/// … until this speaks against a limit, or for one, as the logarithm of a likelihood ratio: who gives up too soon loses less.
pub(super) const ACCIDENTS_SURE: (f64, f64) = (-4.0, 3.0);
/// The share of accidents before much is seen of them, and what is seen of them by then.
pub(super) const ACCIDENTS_LIKELY: (f64, f64) = (0.01, 50.0);
/// If there is a limit, there may be accidents besides. The speed at which limits refuse nothing, as a share of the one
/// that is suspected to be at it …
pub(super) const ACCIDENTS_TRIED_AT: f64 = 0.875;
/// … and refusals at it that prove accidents.
pub(super) const ACCIDENTS_TRIED: u32 = 3;
/// A trial has failed when so many times the usual distance of two accidents was admitted …
pub(super) const ACCIDENTS_EXPECTED: f64 = 12.0;
/// … or this much …
pub(super) const ACCIDENTS_TRIAL: f64 = 300.0;
/// … and sooner, after so many times that distance, if none has come at all.
pub(super) const ACCIDENTS_SILENCE: f64 = 4.0;
/// Admitted after a trial that has shown a limit, before the next suspicion; doubled each time, up to sixteen times.
pub(super) const ACCIDENTS_REST: u64 = 150;
/// Accidents are no larger a share than this: beyond it, slower is better whatever the reason.
pub(super) const ACCIDENT_LIMIT: f64 = 0.2;
/// Requests over which their share is learned …
pub(super) const ACCIDENT_MEMORY: f64 = 500.0;
/// … up to so many times what it was in the series.
pub(super) const ACCIDENTS_MORE: f64 = 1.25;
/// A share below which accidents are no longer believed in.
pub(super) const ACCIDENTS_END: f64 = 0.003;
/// How sure one has to be that there are more refusals than accidents explain, as the logarithm of a likelihood ratio.
pub(super) const ACCIDENT_ALARM: f64 = 4.5;

/// What a refusal leaves of a rate, by its place in the streak: gentle near the right level, hard if it goes on.
pub(super) const CUTS: [f64; 4] = [0.97, 0.93, 0.85, 0.70];
/// What is used of a rate that admitted work has proved.
pub(super) const SAFE: f64 = 0.985;
/// What a failed test leaves of the rate before it.
pub(super) const HOLD: f64 = 0.995;
/// What of the way that a test near the last ceiling has come is kept when it fails.
pub(super) const CREEP: f64 = 0.25;
/// Growth of a rate under test …
pub(super) const GAIN: f64 = 0.03;
/// … at the least, after failures …
pub(super) const GAIN_MIN: f64 = 0.01;
/// … and at the most, where no ceiling is known.
pub(super) const GAIN_MAX: f64 = 0.25;
/// Beyond this much of the last ceiling, the ceiling has moved and growth may double.
pub(super) const CEILING_MOVED: f64 = 1.05;
/// A test lasts so long …
pub(super) const TEST: f64 = 1.0;
/// … and so many requests.
pub(super) const TEST_REQUESTS: f64 = 8.0;
/// The same where a refusal makes the lane pause, or may be an accident: a step that is a little too far has to show before
/// the next.
pub(super) const TEST_REQUESTS_PAUSING: f64 = 60.0;
/// Allowance withheld after a refusal, in seconds and in requests: the server's bucket has to refill.
pub(super) const DEBT: f64 = 0.3;
/// See [`DEBT`].
pub(super) const DEBT_REQUESTS: f64 = 2.0;
/// Seconds' worth of a rate that may leave at once.
pub(super) const BURST: f64 = 0.25;
/// Admissions between two refusals that make their distance a measurement: fewer are off by over a tenth.
pub(super) const MEASURED: u64 = 10;
/// Refusals older than this measure a limit that may have changed since.
pub(super) const MEMORY: f64 = 150.0;
/// Refusals in a row with nothing admitted in between that show a window which is used up.
pub(super) const WINDOWED: u32 = 4;
/// Seconds without a refusal after which a pace is too low that is less than …
pub(super) const QUIET: f64 = 30.0;
/// … this part of what was once admitted, somewhat less than a half, for a full bucket and what comes in …
pub(super) const TOO_LITTLE: f64 = 0.45;
/// … in so many seconds make twice the rate of a minute's window.
pub(super) const ONCE: f64 = 60.0;
/// Seconds between two steps on the way back.
pub(super) const STEP_BACK: f64 = 3.0;
/// While nothing at all is admitted, a request leaves this often all the same: a window may have reset.
pub(super) const KNOCK: f64 = 3.0;
/// The same where nothing was admitted for long: this part of that time, or a day's window would be knocked at for a day.
pub(super) const KNOCKS_APART: f64 = 8.0;
/// A pace that half a window has shown is tested this often.
pub(super) const WINDOW_TEST: f64 = 20.0;
/// What is used of a rate that the pipeline file states, for the difference between two clocks.
pub(super) const USE_OF_STATED: f64 = 0.998;

/// Before a limit that a refusal named is tested, in seconds …
pub(super) const TOLD_TEST: f64 = 60.0;
/// … and in requests, as a multiple of what other tests wait for.
pub(super) const TOLD_GATE: f64 = 5.0;

/// Where the pace starts when a provider announces its limit.
pub(super) const ANNOUNCED_START: f64 = 0.95;
/// Of the announced limit: below this much left, the pace falls …
pub(super) const LEFT_LOW: f64 = 0.08;
/// … above this much left, it may rise.
pub(super) const LEFT_HIGH: f64 = 0.12;
/// How far above the announced rate the pace may go, by how much is left: a stock of requests is there to be used.
pub(super) const LEFT_TOPS: [(f64, f64); 3] = [(0.6, 1.25), (0.3, 1.03), (0.0, 1.0)];
/// What a refusal leaves of an announced pace: somebody else uses the key too.
pub(super) const ANNOUNCED_CUT: f64 = 0.9;
/// Refusals against what the headers said was left, after which they are not believed any more.
pub(super) const LIES: u32 = 1;
/// Refusals in a row that were put down to a cap, without one being found, after which the same holds.
pub(super) const EXCUSES: u32 = 3;
/// How long announced limits are believed after the last header.
pub(super) const ANNOUNCED_FOR: f64 = 30.0;

/// Announced limits that differ from the one before, after which none is believed.
pub(super) const CHANGES: u32 = 3;
/// Seconds over which what is left is compared with what was sent, at the most and at the least.
pub(super) const STOCK_OVER: f64 = 12.0;
/// See [`STOCK_OVER`].
pub(super) const STOCK_SPAN: f64 = 4.0;
/// Seconds without a refusal after which what is left is no reason to go slower than announced.
pub(super) const UNREFUSED: f64 = 20.0;
/// Seconds between two steps up to what is announced while little is left …
pub(super) const RISE_AFTER: f64 = 5.0;
/// … unless a pace of less than this much of it was refused, or what is left fell faster than we sent …
pub(super) const LOWERED: f64 = 0.9;
/// … (so many times faster; and so many times that no trial of more is worth while) …
pub(super) const SHARED: (f64, f64) = (1.1, 1.5);
/// … in so many seconds: others use the key, too.
pub(super) const CROWDED: f64 = 120.0;
/// A measured rate that is so much of the announced one is the same.
pub(super) const AGREES: std::ops::Range<f64> = 0.88..1.06;
/// What is used of an announced rate at the least, where it is refused itself.
pub(super) const TRUST: f64 = 0.97;
/// Seconds at one pace, with more that wants to leave, after which more than is announced is tried …
pub(super) const TRIAL_AFTER: f64 = 4.0;
/// … and at the least between two such trials, doubled each time.
pub(super) const TRIAL_EVERY: f64 = 240.0;
/// Other senses of the same numbers that are tried, and how many times the pace they may be.
pub(super) const SENSES: u32 = 3;
/// See [`SENSES`].
pub(super) const TRIAL_FAR: f64 = 100.0;
/// An announced pace that is refused, and is so many times what left lately, is not what the limit is.
pub(super) const FAR_OFF: f64 = 5.0;
/// A trial that has come so many times the announced rate was no chance.
pub(super) const TRIAL_WON: f64 = 1.5;

/// Growth of work done, for each doubling of the requests in flight, that makes the doubling worth while.
pub(super) const WORTH: f64 = 1.2;
/// Above the level at which a queueing server is busy: it always has the next request at hand.
pub(super) const KNEE_MARGIN: f64 = 1.25;
/// Answers on a level that make a comparison.
pub(super) const KNEE_SAMPLES: f64 = 10.0;
/// Answers that compare a level with a lower one.
pub(super) const KNEE_TRIAL: f64 = 40.0;
/// The lower level.
pub(super) const KNEE_LESS: f64 = 0.75;
/// The lower level does as much if it does this share of it.
pub(super) const KNEE_SAME: f64 = 0.95;
/// Before a queueing server's level is tried again, at first and at the most.
pub(super) const KNEE_HOLD: (f64, f64) = (30.0, 300.0);
/// Times of an answer, compared with what was usual on its level, beyond which the server is overrun.
pub(super) const OVERRUN: f64 = 3.0;

/// Failures in a row after which the server counts as down, and where they say when it will be back.
pub(super) const FAILURES: u32 = 5;
/// See [`FAILURES`].
pub(super) const FAILURES_TOLD: u32 = 2;
/// Without an answer for so many times the usual time of one (and this many seconds at the least), it hangs.
pub(super) const SILENCE: (f64, f64) = (6.0, 5.0);
/// Between two probes of a server that is down: doubled from the first to the second; after two minutes up to
/// the third.
pub(super) const DOWN_PROBES: (f64, f64, f64) = (0.5, 3.0, 30.0);
/// When the third of [`DOWN_PROBES`] applies.
pub(super) const DOWN_LONG: f64 = 120.0;
/// A server whose failures show in less time than this tells by not failing that it is back.
pub(super) const FAILS_AT_ONCE: f64 = 1.0;
/// Share of the former level that is used at once when the server is back; it doubles from there.
pub(super) const COMEBACK: f64 = 0.25;

/// Every wait that a refusal names is kept. One of so many seconds costs more than the test that it came of can have been
/// worth, and is learned from: tests become rarer, and nothing is measured across it.
pub(super) const LONG_PAUSE: f64 = 1.0;
/// A reset that is nearer is no reason to wait for it.
pub(super) const LANE_PAUSE: f64 = 5.0;
/// A server that failed may ask for patience, but it is looked after once in so long.
pub(super) const LONGEST_TOLD: f64 = 60.0;
/// A cap whose test pauses the lane is tested only after so many times the pause.
pub(super) const PAUSE_GATE: f64 = 30.0;
/// A rate whose test pauses the lane is tested when its growth would have earned the pause so many times over.
pub(super) const PAUSE_EARNED: f64 = 1.5;

/// Among clients that know nothing of each other, a refusal leaves this much of a rate …
pub(super) const SHARED_CUT: f64 = 0.85;
/// … and it grows by so many requests a second, the same for everybody, so that shares become equal …
pub(super) const SHARED_STEP: f64 = 0.3;
/// … this often.
pub(super) const SHARED_EVERY: f64 = 2.0;
/// What is used at the start of what was known ten minutes ago or less.
pub(super) const QUICK_START: f64 = 0.9;

/// An answer is not late before so many times the usual time for its size.
pub(super) const LATE_AT_LEAST: f64 = 1.2;
