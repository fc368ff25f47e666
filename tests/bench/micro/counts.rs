//! Running one benchmark case a given number of times without a clock, for `tests/bench/counts`.

use std::hint::black_box;

/// A case with its preparation.
pub(crate) struct Case {
    name: String,
    prepare: Box<dyn Fn() -> Box<dyn FnMut()>>,
}

impl Case {
    pub(crate) fn new<R, F: FnMut() -> R + 'static>(
        name: impl Into<String>,
        prepare: impl Fn() -> F + 'static,
    ) -> Self {
        let prepare = move || -> Box<dyn FnMut()> {
            let mut work = prepare();
            Box::new(move || _ = black_box(work()))
        };
        Self { name: name.into(), prepare: Box::new(prepare) }
    }
}

/// Runs a single case if the arguments are `--count CASE TIMES`; otherwise returns false.
pub(crate) fn run(arguments: &[String], cases: impl Iterator<Item = Case>) -> bool {
    let [flag, name, times] = arguments else { return false };
    if flag != "--count" {
        return false;
    }
    let times: u64 = times.parse().unwrap_or_else(|error| panic!("{times}: {error}"));
    let case = { cases }.find(|case| case.name == *name).unwrap_or_else(|| panic!("no such case: {name}"));
    let mut work = (case.prepare)();
    (0..times).for_each(|_| work());
    true
}
