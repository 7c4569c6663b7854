//! A copy of Wazuh's folder to work on.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime},
};

use tempfile::TempDir;

use crate::samples;

pub(super) const MANAGER_CONF: &str = "<!-- of the operator -->
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
pub(super) const AGENT_CONF: &str = "<ossec_config>\n  <client>\n    <server>\n      <address>192.0.2.1</address>\n    </server>\n  </client>\n</ossec_config>";

/// A copy of Wazuh's folder, and an event file beside it.
pub(super) struct Wazuh {
    pub(super) folder: TempDir,
    pub(super) events: PathBuf,
}

pub(super) struct Told {
    pub(super) code: i32,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl Wazuh {
    pub(super) fn new(program: &str, conf: &str) -> Self {
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

    pub(super) fn manager() -> Self {
        Self::new("wazuh-analysisd", MANAGER_CONF)
    }

    pub(super) fn agent() -> Self {
        Self::new("wazuh-agentd", AGENT_CONF)
    }

    pub(super) fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join("ossec").join(below)
    }

    pub(super) fn write(&self, below: &str, text: &str) {
        fs::write(self.path(below), text).unwrap();
    }

    pub(super) fn text(&self, below: &str) -> String {
        fs::read_to_string(self.path(below)).unwrap()
    }

    /// One of Wazuh's programs, which has been running for that long.
    pub(super) fn runs(&self, program: &str, since: Duration) {
        let pid = self.path(&format!("var/run/{program}-123.pid"));
        fs::write(&pid, "123").unwrap();
        let file = fs::File::options().write(true).open(&pid).unwrap();
        file.set_modified(SystemTime::now() - since).unwrap();
    }

    /// Every file with its content, every folder without, but for programs.
    pub(super) fn tree(&self) -> BTreeMap<PathBuf, Option<String>> {
        fn walk(folder: &Path, tree: &mut BTreeMap<PathBuf, Option<String>>) {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    tree.insert(path.clone(), None);
                    walk(&path, tree);
                } else {
                    let text = String::from_utf8(fs::read(&path).unwrap()).unwrap();
                    tree.insert(path, Some(text));
                }
            }
        }
        let mut tree = BTreeMap::new();
        for folder in ["etc", "backup", "ruleset", "var"] {
            walk(&self.path(folder), &mut tree);
        }
        tree
    }

    pub(super) fn run(&self, arguments: &[&str]) -> Told {
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
    pub(super) fn done(&self, arguments: &[&str]) -> String {
        let told = self.run(arguments);
        assert_eq!((told.code, told.stderr.as_str()), (0, ""), "{}", told.stdout);
        told.stdout
    }

    /// A collector on which all is well.
    pub(super) fn sound_agent() -> Self {
        let wazuh = Self::agent();
        wazuh.sound_events();
        wazuh.done(&["install"]);
        wazuh.runs("wazuh-logcollector", Duration::ZERO);
        wazuh
    }

    pub(super) fn sound_manager() -> Self {
        let wazuh = Self::manager();
        wazuh.done(&["install"]);
        wazuh.runs("wazuh-analysisd", Duration::ZERO);
        wazuh
    }

    /// The samples, and statistics of just now.
    pub(super) fn sound_events(&self) {
        let mut lines: Vec<_> = samples().into_iter().map(|(_, line)| line).collect();
        let now = format!("{:.3}", jiff::Timestamp::now());
        let statistics = lines.pop().unwrap();
        lines.push(statistics.replacen("2026-04-26T11:45:30.000Z", &now, 1));
        fs::write(&self.events, lines.join("\n") + "\n").unwrap();
        fs::set_permissions(&self.events, fs::Permissions::from_mode(0o644)).unwrap();
    }

    /// That `check` finds exactly one mistake, and says this about it.
    #[track_caller]
    pub(super) fn finds(&self, grade: &str, problem: &str) {
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
