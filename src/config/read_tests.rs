//! llm-d's defaulting rules: what a file need not say, and what is then done.

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
fn a_configuration_that_says_nothing_is_refused_however_it_does() {
    for text in ["", " \n", "# to be written\n", "---\n", "null\n"] {
        let error = read(text, "test", &Catalog::builtin()).unwrap_err().to_string();
        assert!(error.contains("the configuration says nothing"), "{text:?}: {error}");
    }
    let default = read(default_text(), "test", &Catalog::builtin()).unwrap();
    assert!(default.prefix.enabled && default.discovery.is_none());
}

#[test]
fn an_interval_below_the_shortest_is_shown_as_it_counts() {
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
fn a_parameter_that_moved_is_told_with_its_new_home() {
    let told = |kind: &str, parameter: &str| {
        error(&format!("plugins:\n- {{type: {kind}, parameters: {{{parameter}: 64}}}}\n"))
    };
    for parameter in ["hashBlockSize", "maxPrefixBlocksToMatch", "lruCapacityPerServer"] {
        let error = told("prefix-cache-scorer", parameter);
        assert!(error.contains("approx-prefix-cache-producer"), "{error}");
    }
    for kind in ["prefix-cache-scorer", "approx-prefix-cache-producer"] {
        let error = told(kind, "hashBlockSize");
        assert!(error.contains("blockSizeTokens") && error.contains("tokens"), "{error}");
    }
}

#[test]
fn without_profiles_there_is_one_of_everything_declared_in_the_files_order() {
    let text = effective("plugins:\n- type: queue-scorer\n- type: decode-filter\n- type: lora-affinity-scorer\n");
    let profile = section(&text, "schedulingProfiles").join(" ");
    assert_eq!(
        profile,
        "- name: default plugins: - pluginRef: queue-scorer weight: 1.0 - pluginRef: decode-filter \
         - pluginRef: lora-affinity-scorer weight: 1.0 - pluginRef: max-score-picker"
    );
}

#[test]
fn a_profile_without_a_picker_takes_the_declared_one_before_a_new_one() {
    let rest = "plugins:\n- type: queue-scorer\n- {type: random-picker, name: dice}\nschedulingProfiles:\n- name: p\n  plugins: [{pluginRef: queue-scorer}]\n";
    let text = effective(rest);
    assert!(section(&text, "schedulingProfiles").contains(&"- pluginRef: dice"), "{text}");
    assert!(!text.contains("max-score-picker"), "{text}");
}

#[test]
fn producers_are_added_for_who_reads_them_and_not_otherwise() {
    let text = effective("plugins:\n- type: prefix-cache-scorer\n- type: active-request-scorer\n");
    for kind in ["approx-prefix-cache-producer", "inflight-load-producer", "token-producer"] {
        assert!(text.contains(&format!("type: {kind}\n")), "{kind}\n{text}");
    }
    let text = effective("plugins:\n- type: queue-scorer\n");
    assert!(!text.contains("producer"), "{text}");
}

#[test]
fn sections_that_are_left_out_are_there_with_their_defaults() {
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
fn the_new_spelling_of_the_detector_goes_before_the_deprecated_one() {
    let plugins = "plugins:\n- type: queue-scorer\n- {type: utilization-detector, name: a}\n- {type: utilization-detector, name: b, parameters: {queueDepthThreshold: 9}}\n";
    let both = format!(
        "{plugins}saturationDetector: {{pluginRef: a}}\nflowControl: {{saturationDetector: {{pluginRef: b}}}}\n"
    );
    let told = |rest: &str| {
        read(&format!("{HEAD}{rest}"), "test", &Catalog::builtin()).unwrap().saturation.queue_depth_threshold
    };
    assert_eq!(told(&both), 9.0);
    assert_eq!(told(&format!("{plugins}saturationDetector: {{pluginRef: a}}\n")), 5.0);
}

#[test]
fn a_number_that_json_lacks_is_told_at_its_path_beside_the_others() {
    let said = error(
        "plugins:\n- type: queue-scorer\n- type: active-request-scorer\n  parameters: {maxBusyScore: .inf}\n\
         schedulingProfiles:\n- name: p\n  plugins: [{pluginRef: queue-scorer, weight: .nan}]\n",
    );
    assert_eq!(
        said,
        "test:6:30: plugins[1].parameters.maxBusyScore: expected a finite number\n\
         test:9:47: schedulingProfiles[0].plugins[0].weight: expected a finite number, got a number without a value"
    );
}

#[test]
fn a_file_that_asks_for_ever_more_is_told_a_bounded_number_of_complaints() {
    let many: String = (0..100).map(|i| format!("- type: nobody-{i}\n")).collect();
    let said = error(&format!("plugins:\n{many}"));
    assert_eq!(said.lines().count(), 65);
    assert!(said.ends_with("test: and 36 more errors"), "{said}");
}
