use evenkeel::config::MaxInFlight;

use super::scenes::{Job, gateway, scene, with_cap};
use crate::goodput::SLOW;
use crate::goodput::engines::{Told, run};

fn jobs() -> Vec<Job> {
    let want = std::env::var("JOBS").unwrap_or_default();
    [Job::Short, Job::Prompts, Job::Answers, Job::Mixed]
        .into_iter()
        .filter(|j| want.is_empty() || want.contains(&format!("{j:?}")))
        .collect()
}

#[test]
fn probe_trace() {
    let cap: usize = std::env::var("CAP").ok().and_then(|c| c.parse().ok()).unwrap_or(0);
    let auto = std::env::var("AUTO").is_ok();
    let every: f64 = std::env::var("EVERY").ok().and_then(|c| c.parse().ok()).unwrap_or(5.0);
    for job in jobs() {
        let speeds = if std::env::var("SLOWER").is_ok() { [SLOW, 1.0] } else { [1.0, 1.0] };
        let scene = scene(job, &speeds, Told::Stream, 1);
        let cap = if auto {
            MaxInFlight::Auto
        } else if cap == 0 {
            MaxInFlight::Off
        } else {
            MaxInFlight::Fixed(cap)
        };
        let mut gateway = gateway(&scene, cap);
        let got = run(&scene, &mut gateway);
        println!("== {job:?} {cap:?} wall {:.1} preempted {}", got.wall, got.preemptions);
        for s in &gateway.samples {
            if (s.at / every).fract() * every < 0.1 {
                println!("{:.1}: {:?} of {:?}", s.at, s.in_flight, s.caps);
            }
        }
    }
}

#[test]
fn probe_sweep() {
    for job in jobs() {
        for speeds in [[1.0, 1.0], [SLOW, 1.0]] {
            let mut line = format!(
                "{job:?} {speeds:.1?}: none {:.1};",
                with_cap(&scene(job, &speeds, Told::Nothing, 1), MaxInFlight::Off).wall
            );
            for cap in [8, 12, 16, 20, 24, 28, 32, 40, 48, 56, 60, 64, 68, 72, 80, 96, 112, 128, 160, 192] {
                let got = with_cap(&scene(job, &speeds, Told::Nothing, 1), MaxInFlight::Fixed(cap));
                line += &format!(" {cap}: {:.1} ({})", got.wall, got.preemptions);
            }
            println!("{line}");
        }
    }
}

#[test]
fn probe_cells() {
    super::auto::cells();
}
