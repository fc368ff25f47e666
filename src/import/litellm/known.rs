//! The settings that have no translation, each with the reason.

use super::super::draft::Draft;
use super::super::note::Kind;
use super::tree::Tree;

/// Keys, the kind of note on them, the reason, and advice.
type Row = (&'static [&'static str], Kind, &'static str, &'static str);

const KEYS: &str = "`evenkeel key new NAME --file keys.yaml` makes a key, with limits if you want some; name the file in `server.api_keys`";

const ROWS: &[Row] = &[
    (
        &[
            "master_key",
            "custom_auth",
            "enable_jwt_auth",
            "litellm_jwtauth",
            "ui_username",
            "ui_password",
            "allowed_ips",
            "enable_oauth2_auth",
        ],
        Kind::Warning,
        "who may ask is not translated: without it the gateway lets everybody in",
        KEYS,
    ),
    (
        &[
            "database_url",
            "store_model_in_db",
            "database_connection_pool_limit",
            "database_connection_timeout",
            "allow_requests_on_db_unavailable",
            "disable_spend_logs",
            "disable_master_key_return",
            "proxy_batch_write_at",
            "use_redis_transaction_buffer",
            "store_prompts_in_spend_logs",
            "maximum_spend_logs_retention_period",
        ],
        Kind::Left,
        "there is no database: keys are in a file, and what each has used is in /api/status and the metrics",
        KEYS,
    ),
    (
        &["redis_host", "redis_port", "redis_password", "redis_url", "redis_db", "redis_ssl"],
        Kind::Left,
        "there is one connection to Redis",
        "",
    ),
    (
        &[
            "success_callback",
            "failure_callback",
            "callbacks",
            "service_callback",
            "otel",
            "langfuse_default_tags",
            "turn_off_message_logging",
            "redact_user_api_key_info",
            "alerting",
            "alerting_threshold",
            "alert_types",
            "alerting_args",
            "json_logs",
            "set_verbose",
            "telemetry",
            "debug_level",
            "detailed_debug",
        ],
        Kind::Needless,
        "metrics, the access log and spans tell of each request, never of what it says",
        "see `/metrics`, `server.access_log` and `server.tracing`",
    ),
    (
        &[
            "drop_params",
            "modify_params",
            "additional_drop_params",
            "supported_openai_params",
            "drop_unknown_params",
        ],
        Kind::Left,
        "a body goes to the node as it is, but for the model's name; one that a node refuses is refused",
        "vLLM and SGLang leave out what they do not know, or say what it is",
    ),
    (
        &[
            "cache",
            "cache_params",
            "cache_responses",
            "caching_groups",
            "client_ttl",
            "enable_caching_on_provider_specific_optional_params",
        ],
        Kind::Left,
        "answers are not stored; `balance: affinity` makes use of the nodes' own prefix caches",
        "",
    ),
    (
        &["rpm", "tpm"],
        Kind::Warning,
        "a node has no limit a minute: what it says itself, and `max_in_flight`, hold requests back",
        "limits a minute are those of keys: see `server.api_keys`",
    ),
    (
        &["context_window_fallbacks", "content_policy_fallbacks", "default_fallbacks"],
        Kind::Left,
        "which model answers does not depend on what is said",
        "see `spill` and `splits`",
    ),
    (
        &[
            "allowed_fails_policy",
            "retry_policy",
            "model_group_retry_policy",
            "retry_after",
            "cooldown_handler",
        ],
        Kind::Left,
        "a pool has one rule for failures",
        "see `retry.on` and `health`",
    ),
    (
        &["enable_pre_call_checks", "optional_pre_call_checks", "enable_weighted_failover"],
        Kind::Left,
        "a prompt's length is checked by its node",
        "",
    ),
    (
        &[
            "background_health_checks",
            "health_check_interval",
            "health_check_details",
            "health_check_model",
            "enable_health_check_routing",
        ],
        Kind::Needless,
        "nodes are checked by their own path, with no request to the model",
        "say which `engine` they are, or write `health.check`",
    ),
    (
        &[
            "routing_strategy_args",
            "routing_groups",
            "model_group_affinity_config",
            "deployment_affinity_ttl_seconds",
            "tag_filtering",
            "enable_tag_filtering",
        ],
        Kind::Left,
        "the policies have no such settings",
        "see `balance` and `affinity`",
    ),
    (
        &[
            "max_parallel_requests",
            "global_max_parallel_requests",
            "max_request_size_mb",
            "max_response_size_mb",
        ],
        Kind::Left,
        "limits are those of nodes, keys and clients' connections",
        "see `max_in_flight`, `server.api_keys` and `server.client`",
    ),
    (
        &["stream_timeout"],
        Kind::Left,
        "a time that holds for streams alone is not known",
        "see `timeouts.stall` and `first_byte`",
    ),
    (&["timeout", "request_timeout"], Kind::Left, "times are those of a pool", "see `timeouts`"),
    (&["num_retries", "max_retries"], Kind::Left, "retries are those of a pool", "see `retry.attempts`"),
    (&["api_key"], Kind::Needless, "it stands for no key", ""),
    (
        &[
            "model_info",
            "id",
            "mode",
            "input_cost_per_token",
            "output_cost_per_token",
            "base_model",
            "description",
            "custom_llm_provider",
            "stream",
        ],
        Kind::Needless,
        "the nodes say themselves what they serve",
        "",
    ),
    (
        &["environment_variables"],
        Kind::Left,
        "variables are the process's own; their values are not copied",
        "write ${NAME} in a value, and set NAME where the gateway is started",
    ),
    (&["include"], Kind::Left, "other files are not read", "import each"),
    (
        &[
            "guardrails",
            "mcp_servers",
            "search_tools",
            "vector_store_registry",
            "prompts",
            "agents",
            "pass_through_endpoints",
            "files_settings",
            "finetune_settings",
            "assistant_settings",
            "credential_list",
            "litellm_credential_name",
        ],
        Kind::Left,
        "it has no counterpart here",
        "",
    ),
];

/// Notes on all that has not been translated, of the whole file.
pub(super) fn sweep(root: Tree, draft: &mut Draft) {
    for (key, section) in root.entries() {
        match key.as_str() {
            "router_settings" | "litellm_settings" | "general_settings" => {
                section.entries().for_each(|(key, at)| note(&key, at, draft));
            }
            "model_list" => section.items().for_each(|entry| of_entry(entry, draft)),
            _ => note(&key, section, draft),
        }
    }
}

fn of_entry(entry: Tree, draft: &mut Draft) {
    for (key, at) in entry.entries() {
        if key == "litellm_params" {
            at.entries().for_each(|(key, at)| of_params(&key, at, draft));
        } else {
            note(&key, at, draft);
        }
    }
}

/// Parameters that are not known stand for members of the request's body.
fn of_params(key: &str, at: Tree, draft: &mut Draft) {
    if ROWS.iter().any(|(keys, ..)| keys.contains(&key)) || !at.is_left() {
        note(key, at, draft);
    } else {
        let reason = "a body goes to the node as it is, but for the model's name: clients set such parameters themselves";
        draft.note(Kind::Left, at.place(), key, reason, "");
    }
}

fn note(key: &str, at: Tree, draft: &mut Draft) {
    // a weight stands for a limit too
    if at.is_null() || !at.is_left() && !matches!(key, "rpm" | "tpm") {
        return;
    }
    match ROWS.iter().find(|(keys, ..)| keys.contains(&key)) {
        Some((_, kind, reason, advice)) => draft.note(*kind, at.place(), key, reason, advice),
        None => draft.note(Kind::Left, at.place(), key, "no translation of it is known", ""),
    }
}
