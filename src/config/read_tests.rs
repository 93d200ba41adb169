//! Tests of llm-d's defaulting rules: what a file may omit, and what is then used.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;

const HEAD: &str = "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\n";

fn effective(rest: &str) -> String {
    let read = read(&format!("{HEAD}{rest}"), "test", &Catalog::builtin());
    read.unwrap_or_else(|errors| panic!("{errors}")).effective
}

fn error(rest: &str) -> String {
    read(&format!("{HEAD}{rest}"), "test", &Catalog::builtin()).unwrap_err().to_string()
}

/// The section called `name` of an effective configuration.
fn section<'t>(text: &'t str, name: &str) -> Vec<&'t str> {
    let after = text.lines().skip_while(|line| *line != format!("{name}:"));
    after.skip(1).take_while(|line| line.starts_with([' ', '-'])).map(str::trim).collect()
}

#[test]
fn every_form_of_an_empty_configuration_is_refused() {
    for text in ["", " \n", "# to be written\n", "---\n", "null\n"] {
        let error = read(text, "test", &Catalog::builtin()).unwrap_err().to_string();
        assert!(error.contains("the configuration says nothing"), "{text:?}: {error}");
    }
    let default = read(default_text(), "test", &Catalog::builtin()).unwrap();
    assert!(default.prefix.enabled && default.discovery.is_none());
}

#[test]
fn an_interval_below_the_minimum_is_raised_and_shown_as_raised() {
    let source = |interval: &str| {
        let rest = format!(
            "plugins:\n- type: queue-scorer\n- {{type: metrics-data-source, parameters: {{interval: {interval}}}}}\n"
        );
        let read = read(&format!("{HEAD}{rest}"), "test", &Catalog::builtin()).unwrap();
        (read.scrape.interval, read.effective)
    };
    let (interval, effective) = source("10ms");
    assert_eq!(interval, Some(std::time::Duration::from_millis(50)));
    assert!(effective.contains("interval: \"50ms\"") && !effective.contains("10ms"), "{effective}");
    let (interval, effective) = source("1.5s");
    assert_eq!(interval, Some(std::time::Duration::from_millis(1500)));
    assert!(effective.contains("interval: \"1.5s\""), "{effective}");
}

#[test]
fn a_moved_parameter_is_reported_with_its_new_location() {
    let error_for = |kind: &str, parameter: &str| {
        error(&format!("plugins:\n- {{type: {kind}, parameters: {{{parameter}: 64}}}}\n"))
    };
    for parameter in ["hashBlockSize", "maxPrefixBlocksToMatch", "lruCapacityPerServer"] {
        let error = error_for("prefix-cache-scorer", parameter);
        assert!(error.contains("approx-prefix-cache-producer"), "{error}");
    }
    for kind in ["prefix-cache-scorer", "approx-prefix-cache-producer"] {
        let error = error_for(kind, "hashBlockSize");
        assert!(error.contains("blockSizeTokens") && error.contains("tokens"), "{error}");
    }
}

#[test]
fn without_profiles_one_profile_has_every_declared_plugin_in_file_order() {
    let text = effective("plugins:\n- type: queue-scorer\n- type: decode-filter\n- type: lora-affinity-scorer\n");
    let profile = section(&text, "schedulingProfiles").join(" ");
    assert_eq!(
        profile,
        "- name: default plugins: - pluginRef: queue-scorer weight: 1.0 - pluginRef: decode-filter \
         - pluginRef: lora-affinity-scorer weight: 1.0 - pluginRef: max-score-picker"
    );
}

#[test]
fn a_profile_without_a_picker_prefers_a_declared_one_to_a_new_one() {
    let rest = "plugins:\n- type: queue-scorer\n- {type: random-picker, name: any}\nschedulingProfiles:\n- name: p\n  plugins: [{pluginRef: queue-scorer}]\n";
    let text = effective(rest);
    assert!(section(&text, "schedulingProfiles").contains(&"- pluginRef: any"), "{text}");
    assert!(!text.contains("max-score-picker"), "{text}");
}

#[test]
fn producers_are_added_only_if_a_plugin_reads_them() {
    let text = effective("plugins:\n- type: prefix-cache-scorer\n- type: active-request-scorer\n");
    for kind in ["approx-prefix-cache-producer", "inflight-load-producer", "token-producer"] {
        assert!(text.contains(&format!("type: {kind}\n")), "{kind}\n{text}");
    }
    let text = effective("plugins:\n- type: queue-scorer\n");
    assert!(!text.contains("producer"), "{text}");
}

#[test]
fn omitted_sections_have_their_defaults() {
    let text = effective("plugins:\n- type: queue-scorer\n");
    assert!(section(&text, "dataLayer").contains(&"- pluginRef: metrics-data-source"));
    assert_eq!(section(&text, "flowControl"), ["saturationDetector:", "pluginRef: utilization-detector"]);
    assert_eq!(
        section(&text, "requestHandler"),
        ["parsers:", "- pluginRef: openai-parser", "- pluginRef: passthrough-parser"]
    );
    assert!(text.contains("- name: single-profile-handler\n"), "{text}");
}

#[test]
fn both_spellings_of_the_version_are_read() {
    let legacy = HEAD.replace("llm-d.ai", "inference.networking.x-k8s.io");
    let rest = "plugins:\n- type: queue-scorer\n";
    let old = read(&format!("{legacy}{rest}"), "test", &Catalog::builtin()).unwrap();
    assert_eq!(old.effective, effective(rest));
}

#[test]
fn the_new_spelling_of_the_detector_overrides_the_deprecated_one() {
    let plugins = "plugins:\n- type: queue-scorer\n- {type: utilization-detector, name: a}\n- {type: utilization-detector, name: b, parameters: {queueDepthThreshold: 9}}\n";
    let both = format!(
        "{plugins}saturationDetector: {{pluginRef: a}}\nflowControl: {{saturationDetector: {{pluginRef: b}}}}\n"
    );
    let threshold = |rest: &str| {
        read(&format!("{HEAD}{rest}"), "test", &Catalog::builtin()).unwrap().saturation.queue_depth_threshold
    };
    assert_eq!(threshold(&both), 9.0);
    assert_eq!(threshold(&format!("{plugins}saturationDetector: {{pluginRef: a}}\n")), 5.0);
}

#[test]
fn a_non_finite_number_is_reported_at_its_path_beside_other_errors() {
    let message = error(
        "plugins:\n- type: queue-scorer\n- type: active-request-scorer\n  parameters: {maxBusyScore: .inf}\n\
         schedulingProfiles:\n- name: p\n  plugins: [{pluginRef: queue-scorer, weight: .nan}]\n",
    );
    assert_eq!(
        message,
        "test:6:30: plugins[1].parameters.maxBusyScore: expected a finite number\n\
         test:9:47: schedulingProfiles[0].plugins[0].weight: expected a finite number, got a number without a value"
    );
}

#[test]
fn the_number_of_printed_errors_is_bounded() {
    let many: String = (0..100).map(|i| format!("- type: unknown-{i}\n")).collect();
    let message = error(&format!("plugins:\n{many}"));
    assert_eq!(message.lines().count(), 65);
    assert!(message.ends_with("test: and 36 more errors"), "{message}");
}

#[test]
fn headers_that_plugins_read_or_set_are_known() {
    let of = |profile: &str| {
        let plugins = "plugins:\n- type: header-based-testing-filter\n- type: destination-endpoint-served-verifier\n- type: max-score-picker\n";
        let rest = format!(
            "{plugins}schedulingProfiles:\n- name: default\n  plugins:\n{profile}  - pluginRef: max-score-picker\n"
        );
        let profiles = read(&format!("{HEAD}{rest}"), "test", &Catalog::builtin()).unwrap().profiles;
        (profiles.reads_headers().to_vec(), profiles.served_headers().map(str::to_owned).collect::<Vec<_>>())
    };
    let served = vec!["x-conformance-test-served-endpoint".to_owned()];
    let used = of("  - pluginRef: header-based-testing-filter\n");
    assert_eq!(used, (vec!["test-epp-endpoint-selection".to_owned()], served.clone()));
    assert_eq!(of(""), (Vec::new(), served), "a filter that no profile names reads nothing");
}
