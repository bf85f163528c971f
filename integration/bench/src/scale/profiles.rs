//! The load over time.

/// The load over time, in pods that it keeps busy.
#[derive(Debug)]
pub(super) struct Profile {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    /// How long it lasts, in seconds.
    pub(super) seconds: u64,
    /// The load at a second.
    load: fn(f64) -> f64,
    /// From when to when the load stays on the level of a step, in seconds.
    pub(super) plateau_s: Option<(f64, f64)>,
}

/// The lowest and the highest load of profiles that go from one to the other.
const LOW: f64 = 4.0;
const HIGH: f64 = 12.0;

const MINUTE: f64 = 60.0;

pub(super) const PROFILES: [Profile; 5] = [
    Profile {
        name: "steady",
        about: "10 pods' worth for 2 h",
        seconds: 7_200,
        load: |_| 10.0,
        plateau_s: None,
    },
    Profile {
        name: "diurnal",
        about: "a sine between 4 and 12 with a period of 3 h",
        seconds: 10_800,
        load: |at_s| {
            let phase = at_s / 10_800.0 * std::f64::consts::TAU;
            LOW + (HIGH - LOW) * (1.0 - phase.cos()) / 2.0
        },
        plateau_s: None,
    },
    Profile {
        name: "ramp",
        about: "from 4 to 12 in 30 min, and back after 20 min",
        seconds: 7_200,
        load: |at_s| {
            let (rise, hold) = (30.0 * MINUTE, 20.0 * MINUTE);
            let start = 10.0 * MINUTE;
            let up = ((at_s - start) / rise).clamp(0.0, 1.0);
            let down = ((at_s - start - rise - hold) / rise).clamp(0.0, 1.0);
            LOW + (HIGH - LOW) * (up - down)
        },
        plateau_s: None,
    },
    Profile {
        name: "step",
        about: "from 5 to 12 at once, and back after 50 min",
        seconds: 7_200,
        load: |at_s| if (20.0 * MINUTE..70.0 * MINUTE).contains(&at_s) { HIGH } else { 5.0 },
        plateau_s: Some((20.0 * MINUTE, 70.0 * MINUTE)),
    },
    Profile {
        name: "burst",
        about: "6, and 10 for 4 of every 20 min",
        seconds: 7_200,
        load: |at_s| if at_s % (20.0 * MINUTE) >= 16.0 * MINUTE { 10.0 } else { 6.0 },
        plateau_s: None,
    },
];

impl Profile {
    /// Returns the load at a second, in pods that it keeps busy.
    pub(super) fn load(&self, at_s: f64) -> f64 {
        (self.load)(at_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(name: &str, minute: f64) -> f64 {
        let profile = PROFILES.iter().find(|profile| profile.name == name).expect("the profile exists");
        profile.load(minute * MINUTE)
    }

    #[test]
    fn profiles_have_the_loads_that_they_say() {
        assert_eq!([4.0, 12.0], [0.0, 90.0].map(|minute| load("diurnal", minute).round()));
        assert_eq!(
            [4.0, 8.0, 12.0, 12.0, 4.0],
            [5.0, 25.0, 41.0, 59.0, 91.0].map(|minute| load("ramp", minute))
        );
        assert_eq!([5.0, 12.0, 12.0, 5.0], [19.0, 20.0, 69.0, 70.0].map(|minute| load("step", minute)));
        assert_eq!([6.0, 10.0, 6.0, 10.0], [15.0, 16.0, 20.0, 39.0].map(|minute| load("burst", minute)));
    }
}
