//! `flowmeter wazuh check`: each mistake is found, and nothing else.

use std::{fs, os::unix::fs::PermissionsExt, time::Duration};

use flowmeter::wazuh::pack;

use crate::{
    folder::{MANAGER_CONF, Wazuh},
    read, samples,
};

#[test]
fn check_is_content_with_a_sound_host() {
    for wazuh in [Wazuh::sound_agent(), Wazuh::sound_manager()] {
        let told = wazuh.done(&["check"]);
        assert!(told.lines().count() >= 3, "{told}");
        assert!(told.lines().all(|line| line.starts_with("ok ")), "{told}");
    }
}

#[test]
fn check_finds_a_missing_event_file() {
    let wazuh = Wazuh::sound_agent();
    fs::remove_file(&wazuh.events).unwrap();
    wazuh.finds(
        "error",
        "the event file /netflow-wazuh.json cannot be read: No such file",
    );
}

#[test]
fn check_finds_an_event_file_that_wazuh_s_group_cannot_read() {
    let wazuh = Wazuh::sound_agent();
    fs::set_permissions(&wazuh.events, fs::Permissions::from_mode(0o600)).unwrap();
    wazuh.finds(
        "error",
        "cannot read /netflow-wazuh.json: /netflow-wazuh.json has the permissions 0600",
    );
    fs::set_permissions(&wazuh.events, fs::Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions(wazuh.folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
    wazuh.finds("error", "has the permissions 0700");
}

#[test]
fn check_finds_a_silent_meter() {
    let wazuh = Wazuh::sound_agent();
    let (_, statistics) = samples().pop().unwrap();
    fs::write(&wazuh.events, statistics + "\n").unwrap();
    wazuh.finds("warning", "flowmeter: silent, last statistics event is ");
}

#[test]
fn check_finds_an_absent_or_wrong_localfile_block() {
    let wazuh = Wazuh::sound_agent();
    let conf = wazuh.text("etc/ossec.conf");
    wazuh.write(
        "etc/ossec.conf",
        &conf.replace("netflow-wazuh.json</location>", "other.json</location>"),
    );
    wazuh.runs("wazuh-logcollector", Duration::ZERO);
    wazuh.finds("error", "no <localfile> block names /netflow-wazuh.json");
    wazuh.write(
        "etc/ossec.conf",
        &conf.replace("<log_format>json", "<log_format>syslog"),
    );
    wazuh.runs("wazuh-logcollector", Duration::ZERO);
    wazuh.finds("error", "reads /netflow-wazuh.json as syslog");
    // The group's configuration will do as well; both together will not.
    wazuh.write("etc/ossec.conf", &conf);
    wazuh.write(
        "etc/shared/agent.conf",
        &conf.replace("ossec_config", "agent_config"),
    );
    wazuh.runs("wazuh-logcollector", Duration::ZERO);
    wazuh.finds(
        "warning",
        "/ossec/etc/shared/agent.conf names /netflow-wazuh.json as well",
    );
}

#[test]
fn check_finds_wrong_internal_networks() {
    let wazuh = Wazuh::sound_agent();
    let lines = fs::read_to_string(&wazuh.events).unwrap();
    let flow = lines
        .lines()
        .find(|line| line.contains("\"direction\":\"internal\""))
        .unwrap();
    let flow = flow.replace("\"direction\":\"internal\"", "\"direction\":\"external\"");
    let statistics = lines.lines().last().unwrap();
    fs::write(&wazuh.events, format!("{flow}\n").repeat(25) + statistics + "\n").unwrap();
    wazuh.finds("error", "each of the last 25 flows is external_to_external");
}

#[test]
fn check_finds_events_that_no_rule_takes() {
    let wazuh = Wazuh::sound_agent();
    let lines = fs::read_to_string(&wazuh.events).unwrap();
    fs::write(&wazuh.events, read("samples/flow-tcp.ecs.json") + &lines).unwrap();
    wazuh.finds("error", "1 of the last events have no \"netflow\":\"true\"");
}

#[test]
fn check_finds_missing_and_broken_rules() {
    let wazuh = Wazuh::sound_manager();
    fs::remove_file(wazuh.path(pack::RULES.path)).unwrap();
    wazuh.finds("error", "/ossec/etc/rules/netflow_rules.xml is not there");
    wazuh.write(
        pack::RULES.path,
        &pack::RULES.text.replace("level=\"9\"", "level=\"19\""),
    );
    wazuh.runs("wazuh-analysisd", Duration::ZERO);
    wazuh.finds("error", "rule 117001: level 19 is above 16");
    wazuh.write(
        pack::RULES.path,
        &pack::RULES.text.replacen("</rule>", "</rul>", 1),
    );
    wazuh.runs("wazuh-analysisd", Duration::ZERO);
    wazuh.finds("error", "expected 'rule' tag, not 'rul'");
    wazuh.write(
        pack::RULES.path,
        &pack::RULES.text.replace("level=\"9\"", "level=\"8\""),
    );
    wazuh.runs("wazuh-analysisd", Duration::ZERO);
    wazuh.finds("warning", "is not this version's, or was changed");
}

#[test]
fn check_finds_duplicate_rule_ids() {
    let wazuh = Wazuh::sound_manager();
    wazuh.write(
        "etc/rules/zz_rules.xml",
        "<group name=\"x,\">\n<rule id=\"117005\" level=\"3\"><description>x</description></rule>\n</group>\n",
    );
    wazuh.finds(
        "error",
        "rule 117005 in /ossec/etc/rules/zz_rules.xml:2 is dropped: its id is taken by /ossec/etc/rules/netflow_rules.xml:",
    );
}

#[test]
fn check_finds_other_files_that_are_no_xml() {
    let wazuh = Wazuh::sound_manager();
    wazuh.write(
        "etc/decoders/local_decoder.xml",
        "<decoder name=\"x\">\n<prematch>a</prematch>\n",
    );
    wazuh.finds("warning", "/ossec/etc/decoders/local_decoder.xml:3:1: ");
}

#[test]
fn check_finds_a_list_that_is_not_declared_or_cannot_match() {
    let wazuh = Wazuh::sound_manager();
    wazuh.write("etc/ossec.conf", MANAGER_CONF);
    wazuh.runs("wazuh-analysisd", Duration::ZERO);
    wazuh.finds("error", "does not declare etc/lists/netflow-authorized-scanners");
    wazuh.done(&["install"]);
    wazuh.write(pack::SCANNERS.path, "10.0.0.0/8:scanners\n");
    wazuh.runs("wazuh-analysisd", Duration::ZERO);
    wazuh.finds("error", "10.0.0.0/8 matches no address");
}

#[test]
fn check_finds_a_decoder_that_blinds_the_manager() {
    let wazuh = Wazuh::sound_manager();
    wazuh.write(
        "etc/decoders/mine.xml",
        "<decoder name=\"mine\"><parent>json</parent><prematch>\"netflow\"</prematch><plugin_decoder>JSON_Decoder</plugin_decoder></decoder>\n",
    );
    wazuh.finds(
        "error",
        "/ossec/etc/decoders/mine.xml has a child of the decoder json and no catch-all",
    );
    wazuh.write(
        "etc/decoders/netflow_decoders.xml",
        &read("wazuh/decoders/netflow_decoders.xml"),
    );
    wazuh.done(&["check"]);
}

#[test]
fn check_finds_a_manager_that_was_not_restarted() {
    let wazuh = Wazuh::sound_manager();
    wazuh.runs("wazuh-analysisd", Duration::from_secs(3600));
    wazuh.finds("error", "was changed after wazuh-analysisd was started");
    fs::remove_file(wazuh.path("var/run/wazuh-analysisd-123.pid")).unwrap();
    wazuh.finds("warning", "wazuh-analysisd does not run");
}

#[test]
fn check_finds_a_template_that_shadows_wazuh_s_own() {
    let wazuh = Wazuh::sound_manager();
    let answer = wazuh.path("answer.json");
    fs::write(
        &answer,
        r#"{"index_templates":[{"name":"wazuh-netflow-numeric","index_template":{"index_patterns":["wazuh-alerts-*"],"priority":200}}]}"#,
    )
    .unwrap();
    let told = wazuh.run(&["check", "--template", answer.to_str().unwrap()]);
    assert_eq!(told.code, 1);
    assert!(
        told.stdout
            .contains("error    the index template wazuh-netflow-numeric takes the place of Wazuh's own"),
        "{}",
        told.stdout
    );
    assert_eq!(
        told.stderr,
        "error: something keeps events from becoming alerts\n"
    );
}

#[test]
fn check_tells_for_each_event_which_rule_fires() {
    let wazuh = Wazuh::sound_manager();
    let events = wazuh.path("try.json");
    let sample = |name: &str| read(&format!("samples/{name}"));
    let text = sample("finding.json") + &sample("flow-dns.json") + &sample("flow-icmp.json") + "no event\n";
    fs::write(&events, &text).unwrap();
    let file = events.to_str().unwrap();
    let told = wazuh.done(&["check", file]);
    assert!(
        told.contains("\nline 1: 117001 (level 9) NetFlow: Possible port scanning"),
        "{told}"
    );
    assert!(
        told.contains("\nlines 2 to 3: 117000 (level 0) NetFlow: Network flow event received"),
        "{told}"
    );
    assert!(
        told.contains(
            "not 117001, 117002, 117003, 117004, 117005, 117006, 117007, 117008, 117009, 117025: anomaly.tags is absent"
        ),
        "{told}"
    );
    assert!(
        told.contains("event.action is network_flow, which does not match ^statistics$"),
        "{told}"
    );
    assert!(
        told.contains("\nline 4: no rule fires\n    not 117000: the line is not one for the decoder json\n"),
        "{told}"
    );

    // The rules are those that are installed, the operator's own among them.
    wazuh.done(&["install", "--flows"]);
    wazuh.write(
        "etc/rules/site_rules.xml",
        "<group name=\"x,\">\n<rule id=\"100117\" level=\"0\"><if_sid>117001</if_sid><dstip>192.168.0.0/16</dstip><description>not here</description></rule>\n</group>\n",
    );
    wazuh.runs("wazuh-analysisd", Duration::ZERO);
    let told = wazuh.done(&["check", file]);
    assert!(told.contains("\nline 1: 100117 (level 0) not here\n"), "{told}");
    assert!(
        told.contains("\nlines 2 to 3: 117040 (level 3) NetFlow: Flow\n"),
        "{told}"
    );
}
