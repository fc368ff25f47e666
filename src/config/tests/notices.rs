//! Notices: what is valid, and yet does less than one may expect.

use super::{SERVER, parse};

fn notices(pool: &str) -> Vec<String> {
    parse(&format!("{SERVER}pools:\n  a:\n    nodes: [n:1]\n{pool}")).notices
}

#[test]
fn an_unknown_engine_resumes_less() {
    let said = notices("    retry:\n      resume: on\n");
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].starts_with("t.yaml:6: pools.a.retry.resume: with `engine: generic`"), "{said:?}");
    assert!(said[0].contains("chats are not") && said[0].contains("max_tokens"), "{said:?}");
}

#[test]
fn a_pool_that_does_all_one_may_expect_has_none() {
    for pool in ["", "    retry: { resume: off }\n", "    engine: vllm\n    retry: { resume: on }\n"] {
        assert_eq!(notices(pool), [""; 0], "{pool}");
    }
}
