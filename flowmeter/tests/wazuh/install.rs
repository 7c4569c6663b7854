//! `flowmeter wazuh install`, `check` and `uninstall` on a copy of Wazuh's folder.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime},
};

use flowmeter::wazuh::{conf::Conf, pack};
use tempfile::TempDir;

use crate::{read, samples};

const MANAGER_CONF: &str = "<!-- of the operator -->
<ossec_config>
  <global>
    <jsonout_output>yes</jsonout_output>
  </global>
  <ruleset>
    <!-- Default ruleset -->
    <decoder_dir>ruleset/decoders</decoder_dir>
    <rule_dir>ruleset/rules</rule_dir>
    <list>etc/lists/audit-keys</list>
    <!-- User-defined ruleset -->
    <decoder_dir>etc/decoders</decoder_dir>
    <rule_dir>etc/rules</rule_dir>
  </ruleset>
</ossec_config>

<ossec_config>
  <localfile>
    <log_format>journald</log_format>
    <location>journald</location>
  </localfile>
</ossec_config>
";

// No line end at the end, as an editor may leave it.
const AGENT_CONF: &str = "<ossec_config>\n  <client>\n    <server>\n      <address>192.0.2.1</address>\n    </server>\n  </client>\n</ossec_config>";

/// A copy of Wazuh's folder, and an event file beside it.
struct Wazuh {
    folder: TempDir,
    events: PathBuf,
}

struct Told {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Wazuh {
    fn new(program: &str, conf: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let wazuh = Self {
            events: folder.path().join("netflow-wazuh.json"),
            folder,
        };
        fs::set_permissions(wazuh.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for name in [
            "etc/rules",
            "etc/decoders",
            "etc/lists",
            "etc/shared",
            "ruleset/rules",
            "bin",
            "backup",
            "var/run",
        ] {
            fs::create_dir_all(wazuh.path(name)).unwrap();
        }
        // It takes any configuration.
        std::os::unix::fs::symlink("/bin/true", wazuh.path(&format!("bin/{program}"))).unwrap();
        wazuh.write("etc/ossec.conf", conf);
        wazuh.write("etc/rules/local_rules.xml", "<group name=\"local,\">\n</group>\n");
        wazuh
    }

    fn manager() -> Self {
        Self::new("wazuh-analysisd", MANAGER_CONF)
    }

    fn agent() -> Self {
        Self::new("wazuh-agentd", AGENT_CONF)
    }

    fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join("ossec").join(below)
    }

    fn write(&self, below: &str, text: &str) {
        fs::write(self.path(below), text).unwrap();
    }

    fn text(&self, below: &str) -> String {
        fs::read_to_string(self.path(below)).unwrap()
    }

    /// One of Wazuh's programs, which has been running for that long.
    fn runs(&self, program: &str, since: Duration) {
        let pid = self.path(&format!("var/run/{program}-123.pid"));
        fs::write(&pid, "123").unwrap();
        let file = fs::File::options().write(true).open(&pid).unwrap();
        file.set_modified(SystemTime::now() - since).unwrap();
    }

    /// Every file with its content, every folder without.
    fn tree(&self) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
        fn walk(folder: &Path, tree: &mut BTreeMap<PathBuf, Option<Vec<u8>>>) {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    tree.insert(path.clone(), None);
                    walk(&path, tree);
                } else {
                    tree.insert(path.clone(), Some(fs::read(&path).unwrap()));
                }
            }
        }
        let mut tree = BTreeMap::new();
        walk(&self.path(""), &mut tree);
        tree
    }

    fn run(&self, arguments: &[&str]) -> Told {
        let output = Command::new(env!("CARGO_BIN_EXE_flowmeter"))
            .env_clear()
            .args(["wazuh", arguments[0], "--root"])
            .arg(self.path(""))
            .arg("--set")
            .arg(format!("output.path={}", self.events.display()))
            .args(&arguments[1..])
            .output()
            .unwrap();
        let text = |bytes| {
            let text: String = String::from_utf8(bytes).unwrap();
            text.replace(self.folder.path().to_str().unwrap(), "")
        };
        Told {
            code: output.status.code().unwrap(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    #[track_caller]
    fn done(&self, arguments: &[&str]) -> String {
        let told = self.run(arguments);
        assert_eq!((told.code, told.stderr.as_str()), (0, ""), "{}", told.stdout);
        told.stdout
    }

    /// A collector on which all is well.
    fn sound_agent() -> Self {
        let wazuh = Self::agent();
        wazuh.sound_events();
        wazuh.done(&["install"]);
        wazuh.runs("wazuh-logcollector", Duration::ZERO);
        wazuh
    }

    fn sound_manager() -> Self {
        let wazuh = Self::manager();
        wazuh.done(&["install"]);
        wazuh.runs("wazuh-analysisd", Duration::ZERO);
        wazuh
    }

    /// The samples, and statistics of just now.
    fn sound_events(&self) {
        let mut lines: Vec<_> = samples().into_iter().map(|(_, line)| line).collect();
        let now = format!("{:.3}", jiff::Timestamp::now());
        let statistics = lines.pop().unwrap();
        lines.push(statistics.replacen("2026-04-26T11:45:30.000Z", &now, 1));
        fs::write(&self.events, lines.join("\n") + "\n").unwrap();
        fs::set_permissions(&self.events, fs::Permissions::from_mode(0o644)).unwrap();
    }

    /// That `check` finds exactly one mistake, and says this about it.
    #[track_caller]
    fn finds(&self, grade: &str, problem: &str) {
        let told = self.run(&["check"]);
        let bad: Vec<_> = told
            .stdout
            .lines()
            .filter(|line| line.starts_with("error") || line.starts_with("warning"))
            .collect();
        assert_eq!(bad.len(), 1, "{}", told.stdout);
        assert!(
            bad[0].starts_with(grade) && bad[0].contains(problem),
            "{}",
            told.stdout
        );
        assert!(
            told.stdout.contains("\n         -> "),
            "a remedy: {}",
            told.stdout
        );
        assert_eq!(told.code, i32::from(grade == "error"), "{}", told.stderr);
    }
}

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
