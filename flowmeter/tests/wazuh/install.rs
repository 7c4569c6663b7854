//! `flowmeter wazuh install` and `uninstall`.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use flowmeter::wazuh::{conf::Conf, pack};

use crate::{
    folder::{AGENT_CONF, MANAGER_CONF, Wazuh},
    read,
};

#[test]
fn what_is_installed_is_uninstalled_to_the_byte() {
    for wazuh in [Wazuh::manager(), Wazuh::agent()] {
        let before = wazuh.tree();
        wazuh.done(&["install", "--flows"]);
        assert_ne!(wazuh.tree(), before);
        wazuh.done(&["uninstall"]);
        assert_eq!(wazuh.tree(), before);
    }
}

#[test]
fn a_second_install_changes_nothing() {
    for wazuh in [Wazuh::manager(), Wazuh::agent()] {
        let told = wazuh.done(&["install"]);
        assert!(
            told.contains("For Wazuh to see it: systemctl restart wazuh-"),
            "{told}"
        );
        let once = wazuh.tree();
        let told = wazuh.done(&["install"]);
        assert_eq!(wazuh.tree(), once);
        assert!(!told.contains("restart"), "{told}");
        let done = told.lines().take_while(|line| !line.is_empty());
        for line in done {
            assert!(line.starts_with("unchanged"), "{told}");
        }
    }
}

#[test]
fn the_manager_gets_rules_and_a_declared_list() {
    let wazuh = Wazuh::manager();
    let told = wazuh.done(&["install"]);
    assert_eq!(
        wazuh.text(pack::RULES.path),
        read("wazuh/rules/netflow_rules.xml")
    );
    assert!(!wazuh.path(pack::FLOW_RULES.path).exists(), "only with --flows");
    let conf = Conf::read(&wazuh.text("etc/ossec.conf")).unwrap();
    assert_eq!(conf.lists, ["etc/lists/audit-keys", pack::SCANNERS.path]);
    assert_eq!(conf.rulesets, 1);
    assert_eq!(conf.localfiles.len(), 1, "it has no event file");
    assert_eq!(wazuh.text("backup/flowmeter/before/etc/ossec.conf"), MANAGER_CONF);
    assert!(
        told.contains("changed    /ossec/etc/ossec.conf  (list declared; before: /ossec/backup/flowmeter/before/etc/ossec.conf)"),
        "{told}"
    );
    assert!(told.contains("_template/wazuh-netflow"), "{told}");
    wazuh.done(&["install", "--flows"]);
    assert_eq!(wazuh.text(pack::FLOW_RULES.path), pack::FLOW_RULES.text);
}

#[test]
fn the_agent_gets_one_block_for_its_file_and_one_for_its_age() {
    let wazuh = Wazuh::agent();
    wazuh.done(&["install"]);
    let conf = Conf::read(&wazuh.text("etc/ossec.conf")).unwrap();
    assert_eq!(conf.localfiles.len(), 2);
    assert_eq!(conf.reads(&wazuh.events).unwrap().log_format, "json");
    let age = &conf.localfiles[1];
    assert_eq!(
        (age.log_format.as_str(), age.alias.as_str()),
        ("full_command", "flowmeter-age")
    );
    assert!(!wazuh.path(pack::RULES.path).exists());

    wazuh.sound_events();
    let mut words = age.command.split(' ');
    let output = Command::new(words.next().unwrap())
        .env_clear()
        .args(words)
        .output()
        .unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.starts_with("flowmeter: last statistics event is "), "{told}");
}

#[test]
fn a_block_that_somebody_else_has_written_is_not_repeated() {
    let wazuh = Wazuh::agent();
    let own = format!(
        "{AGENT_CONF}\n<ossec_config>\n  <localfile>\n    <log_format>json</log_format>\n    <location>{}</location>\n  </localfile>\n</ossec_config>\n",
        wazuh.events.display()
    );
    wazuh.write("etc/ossec.conf", &own);
    wazuh.done(&["install"]);
    let conf = wazuh.text("etc/ossec.conf");
    assert_eq!(conf.matches("<log_format>json</log_format>").count(), 1);
    assert_eq!(conf.matches("flowmeter-age").count(), 1);
    wazuh.done(&["uninstall"]);
    assert_eq!(wazuh.text("etc/ossec.conf"), own);
}

#[test]
fn a_host_can_be_both() {
    let wazuh = Wazuh::manager();
    let before = wazuh.tree();
    wazuh.done(&["install", "--manager", "--agent"]);
    let conf = Conf::read(&wazuh.text("etc/ossec.conf")).unwrap();
    assert!(conf.reads(&wazuh.events).is_some() && conf.lists.len() == 2);
    wazuh.done(&["uninstall"]);
    assert_eq!(wazuh.tree(), before);
}

#[test]
fn what_was_there_before_comes_back_and_what_is_somebody_s_own_stays() {
    let wazuh = Wazuh::manager();
    let old = "<group name=\"netflow,\">\n  <rule id=\"117000\" level=\"0\"><description>the article's</description></rule>\n</group>\n";
    wazuh.write(pack::RULES.path, old);
    let before = wazuh.tree();
    wazuh.done(&["install"]);
    assert_eq!(wazuh.text(pack::RULES.path), pack::RULES.text);
    wazuh.done(&["uninstall"]);
    assert_eq!(wazuh.tree(), before);

    wazuh.done(&["install"]);
    wazuh.write(pack::SCANNERS.path, "10.99.7.:ours\n");
    let changed = wazuh.text("etc/ossec.conf") + "<!-- added since -->\n";
    wazuh.write("etc/ossec.conf", &changed);
    let told = wazuh.done(&["install"]);
    assert!(
        told.contains("kept       /ossec/etc/lists/netflow-authorized-scanners  (it is yours)"),
        "{told}"
    );
    let told = wazuh.done(&["uninstall"]);
    assert!(
        told.contains("kept       /ossec/etc/lists/netflow-authorized-scanners"),
        "{told}"
    );
    assert_eq!(wazuh.text(pack::SCANNERS.path), "10.99.7.:ours\n");
    assert_eq!(
        wazuh.text("etc/ossec.conf"),
        format!("{MANAGER_CONF}<!-- added since -->\n")
    );
    assert_eq!(wazuh.text(pack::RULES.path), old);
}

#[test]
fn a_rule_file_that_somebody_changed_is_kept_aside_when_it_is_replaced() {
    let wazuh = Wazuh::manager();
    wazuh.done(&["install"]);
    let [one, two] = ["one", "two"].map(|name| format!("<group name=\"{name},\">\n</group>\n"));
    let (one, two) = (one.as_str(), two.as_str());
    let kept = |suffix: &str| format!("backup/flowmeter/changed/{}{suffix}", pack::RULES.path);
    for (text, suffix) in [(one, ""), (two, ".2"), (one, "")] {
        wazuh.write(pack::RULES.path, text);
        let told = wazuh.done(&["install"]);
        let note = format!("it was changed since; that is now /ossec/{}", kept(suffix));
        assert!(told.contains(&note), "{told}");
        assert_eq!(wazuh.text(&kept(suffix)), text);
        assert_eq!(wazuh.text(pack::RULES.path), pack::RULES.text);
    }
    wazuh.done(&["uninstall"]);
    assert!(!wazuh.path(pack::RULES.path).exists());
    assert_eq!(wazuh.text(&kept("")), one);
    assert_eq!(wazuh.text(&kept(".2")), two);
}

/// What cannot be read is not taken for missing: neither replaced nor removed.
#[test]
fn a_file_that_cannot_be_read_stops_both_and_nothing_is_lost() {
    let wazuh = Wazuh::manager();
    fs::create_dir_all(wazuh.path(pack::RULES.path)).unwrap();
    let before = wazuh.tree();
    let told = wazuh.run(&["install"]);
    assert_eq!(told.code, 1, "{}", told.stderr);
    assert!(
        told.stderr
            .contains("cannot read /ossec/etc/rules/netflow_rules.xml: Is a directory"),
        "{}",
        told.stderr
    );
    assert_eq!(wazuh.tree(), before);
}

#[test]
fn a_broken_configuration_is_refused_with_its_place() {
    let wazuh = Wazuh::manager();
    wazuh.write(
        "etc/ossec.conf",
        &MANAGER_CONF.replace("</ruleset>", "</rulesets>"),
    );
    let before = wazuh.tree();
    let told = wazuh.run(&["install"]);
    assert_eq!(told.code, 78);
    assert_eq!(
        told.stderr,
        "error: cannot change Wazuh's configuration; nothing was written: /ossec/etc/ossec.conf:14:3: expected \
         'ruleset' tag, not 'rulesets'\n"
    );
    assert_eq!(wazuh.tree(), before);
}

#[test]
fn a_taken_rule_id_is_refused_with_its_place() {
    let wazuh = Wazuh::manager();
    wazuh.write(
        "etc/rules/local_rules.xml",
        "<group name=\"local,\">\n<!-- <rule id=\"117002\" -->\n<rule id=\"117001\" level=\"3\"><description>x</description></rule>\n</group>\n",
    );
    let before = wazuh.tree();
    let told = wazuh.run(&["install"]);
    assert_eq!(told.code, 1);
    assert_eq!(
        told.stderr,
        "error: cannot install: rule 117001 is already in /ossec/etc/rules/local_rules.xml:3; take it out there first\n"
    );
    assert_eq!(wazuh.tree(), before);
}

#[test]
fn what_wazuh_itself_refuses_is_taken_back() {
    let wazuh = Wazuh::manager();
    let script = wazuh.path("bin/wazuh-analysisd");
    fs::remove_file(&script).unwrap();
    fs::write(
        &script,
        "#!/bin/sh\n[ \"$1\" = -t ] && echo 'CRITICAL: (1220): Error loading the rules' >&2 && exit 1\n",
    )
    .unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let before = wazuh.tree();
    let told = wazuh.run(&["install"]);
    assert_eq!(told.code, 1);
    assert_eq!(
        told.stderr,
        "error: cannot install; everything is as it was: /ossec/bin/wazuh-analysisd -t refuses it: CRITICAL: (1220): \
         Error loading the rules\n"
    );
    assert_eq!(wazuh.tree(), before);
}

#[test]
fn a_host_without_wazuh_is_told() {
    let folder = tempfile::tempdir().unwrap();
    for command in ["install", "check", "uninstall"] {
        let output = Command::new(env!("CARGO_BIN_EXE_flowmeter"))
            .env_clear()
            .args(["wazuh", command, "--root"])
            .arg(folder.path())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(
            told.contains("cannot find a Wazuh manager or agent in "),
            "{told}"
        );
    }
}

#[test]
fn no_link_is_followed_and_permissions_stay() {
    let wazuh = Wazuh::manager();
    let target = wazuh.path("bin/victim");
    fs::write(&target, "precious").unwrap();
    std::os::unix::fs::symlink(&target, wazuh.path("etc/ossec.conf.flowmeter-new")).unwrap();
    let mode = |path: &str| fs::metadata(wazuh.path(path)).unwrap().permissions().mode() & 0o7777;
    fs::set_permissions(wazuh.path("etc/ossec.conf"), fs::Permissions::from_mode(0o640)).unwrap();
    wazuh.done(&["install"]);
    assert_eq!((mode("etc/ossec.conf"), mode(pack::RULES.path)), (0o640, 0o660));
    assert_eq!(
        mode("backup/flowmeter/before/etc/ossec.conf"),
        0o660,
        "not for everybody"
    );
    assert_eq!(fs::read_to_string(&target).unwrap(), "precious");

    let wazuh = Wazuh::manager();
    std::os::unix::fs::symlink(&target, wazuh.path(pack::RULES.path)).unwrap();
    let before = wazuh.tree();
    let told = wazuh.run(&["install"]);
    assert_eq!(told.code, 1);
    assert!(
        told.stderr
            .contains("cannot write /ossec/etc/rules/netflow_rules.xml: it is a link"),
        "{}",
        told.stderr
    );
    assert_eq!(wazuh.tree(), before);
}
