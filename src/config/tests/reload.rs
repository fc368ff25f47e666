use super::{POOLS, SERVER, parse};

#[test]
fn settings_that_need_a_new_process_are_named() {
    let old = parse(&format!("{SERVER}{POOLS}"));
    let server =
        "server: { listen: [127.0.0.1:1, 127.0.0.1:9999], admin: off, threads: 4, drain_timeout: 1s }\n";
    let new = parse(&format!("{server}{POOLS}"));
    assert_eq!(
        old.diff_restart(&new),
        [
            "server.listen stays 127.0.0.1:9999 until the process is replaced; the file says 127.0.0.1:1, 127.0.0.1:9999",
            "server.admin stays 127.0.0.1:9990 until the process is replaced; the file says off",
            "server.threads stays auto until the process is replaced; the file says 4",
        ]
    );
}

#[test]
fn settings_that_change_in_place_are_not_named() {
    let old = parse("server: { listen: [127.0.0.1:1, 127.0.0.1:2] }\npools: { a: { nodes: [n:1] } }");
    let new = parse(
        "server: { listen: [127.0.0.1:2, 127.0.0.1:1], drain_timeout: 1 }\npools: { b: { nodes: [n:2] } }",
    );
    assert_eq!(old.diff_restart(&new), Vec::<String>::new());
}
