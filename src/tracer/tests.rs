use std::net::TcpListener;
use std::time::SystemTime;

use super::*;
use crate::access_log::Entry;
use crate::config::Config;
use crate::journal;
use crate::trace::Trace;

fn config(url: &str) -> Config {
    let text = format!(
        "server: {{ listen: 127.0.0.1:1, tracing: {{ otlp: \"{url}\" }} }}\npools: {{ p: {{ nodes: [n:1] }} }}"
    );
    Config::parse(&text, "t").expect("a config")
}

fn ended() -> Ended {
    let entry = Entry {
        client: None,
        at: journal::now(),
        method: "GET".into(),
        path: "/".into(),
        protocol: "HTTP/1.1",
        status: 200,
        bytes_sent: 0,
        referer: String::new(),
        user_agent: String::new(),
        forwarded_for: String::new(),
        key: None,
        pool: None,
        class: None,
        attempts: Vec::new(),
        ttft: None,
        total: Duration::ZERO,
        queue: Duration::ZERO,
        request_id: String::new(),
        note: None,
    };
    let trace = Box::new(Trace { id: 1, parent: None, span: 2, is_sampled: true });
    Ended { trace, entry, at: Instant::now(), wall: SystemTime::now() }
}

/// The backlog takes its connections, and nobody reads them.
#[test]
fn what_waits_for_a_silent_collector_is_bounded_and_the_rest_is_counted() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let config = config(&format!("http://{}", silent.local_addr().expect("an address")));
    let conf = config.server.tracing.clone();
    let live = Arc::new(Live::new(config));
    let tracer = Tracer::new(Arc::clone(&live));
    tracer.set(conf.as_ref()).expect("a thread");
    let began = Instant::now();
    (0..WAITING_MAX + 2 * BATCH_MAX).for_each(|_| tracer.write(ended()));
    assert!(began.elapsed() < EXPORT_WITHIN, "nobody waits for it");
    let lost = live.lost_spans.load(Ordering::Relaxed);
    assert!((BATCH_MAX as u64..=2 * BATCH_MAX as u64).contains(&lost), "{lost}");
    tracer.stop();
    assert!(began.elapsed() < EXPORT_WITHIN + FLUSH_WITHIN, "{:?}", began.elapsed());
    tracer.write(ended());
    assert!(live.lost_spans.load(Ordering::Relaxed) > lost, "there is no thread any more");
}

#[test]
fn a_thread_goes_on_unless_its_collector_is_another() {
    let config = config("http://127.0.0.1:3");
    let conf = config.server.tracing.clone().expect("it is on");
    let tracer = Tracer::new(Arc::new(Live::new(config)));
    let running = || tracer.running.load_full();
    let set = |conf: Option<&Tracing>| {
        tracer.set(conf).expect("a thread");
        running()
    };
    let is_same = |a: &Option<Arc<Running>>, b: &Option<Arc<Running>>| match (a, b) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        _ => false,
    };
    assert!(running().is_none());
    let first = set(Some(&conf));
    assert!(is_same(&first, &set(Some(&conf))));
    assert!(is_same(&first, &set(Some(&Tracing { sample: 0.5, ..conf.clone() }))));
    for other in [
        Tracing { url: "http://127.0.0.1:2/v1/traces".into(), ..conf.clone() },
        Tracing { service_name: "x".into(), ..conf.clone() },
    ] {
        let next = set(Some(&other));
        assert!(next.is_some() && !is_same(&first, &next), "{other:?}");
    }
    assert!(set(None).is_none());
}
