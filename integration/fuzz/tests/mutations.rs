//! Some thousand mutations of the seeds, the same ones every time.

use signalbox_fuzz::{Mutator, Target};

fn runs(target: Target, times: u32) {
    let seeds = target.seeds().expect("the seeds are in the repository");
    seeds.iter().for_each(|seed| target.run(seed));
    let mut mutator = Mutator::new(seeds, target.words(), 1);
    (0..times).for_each(|_| target.run(&mutator.make()));
}

#[test]
fn request() {
    runs(Target::Request, 3_000);
}

#[test]
fn answer() {
    runs(Target::Answer, 3_000);
}

#[test]
fn page() {
    runs(Target::Page, 3_000);
}

#[test]
fn messages() {
    runs(Target::Messages, 3_000);
}
