//! The event file as the Wazuh agent reads it. `flowmeter wazuh check` looks at more, on the manager too.

use std::{io, path::Path};

use super::{Grade, Outcome, site::Site};
use crate::{
    error::{Failure, exit_code},
    wazuh::{
        diagnose::{self, Diagnosis, diagnose},
        host::{CONF, Host},
    },
};

const NAME: &str = "wazuh";

pub(super) fn check(site: &Site<'_>, root: &Path, checks: &mut Vec<Outcome>) {
    if site.config.output.path == Path::new("-") {
        return;
    }
    let conf = root.join(CONF);
    match conf.try_exists() {
        Ok(true) => {}
        Ok(false) => {
            checks.push(Outcome::ok(
                NAME,
                format!("no agent is installed in {}", root.display()),
            ));
            return;
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            checks.push(Outcome::denied(
                NAME,
                format!("this process may not read {}", conf.display()),
            ));
            return;
        }
        Err(error) => {
            checks.push(Outcome::failure(
                NAME,
                format!("cannot read {}: {error}", conf.display()),
                "repair the Wazuh agent",
            ));
            return;
        }
    }
    let host = Host {
        root: root.to_owned(),
        manager: false,
        agent: true,
        events: site.config.output.path.clone(),
    };
    match diagnose(&host) {
        Ok(found) => checks.extend(found.into_iter().map(outcome)),
        Err(error) if exit_code(&error) == exit_code(&Failure::Permission(anyhow::anyhow!("")).into()) => {
            checks.push(Outcome::denied(NAME, format!("{error:#}")));
        }
        Err(error) => checks.push(Outcome::failure(
            NAME,
            format!("{error:#}"),
            "repair the Wazuh agent",
        )),
    }
}

fn outcome(diagnosis: Diagnosis) -> Outcome {
    let result = match diagnosis.grade {
        diagnose::Grade::Good => Grade::Ok,
        diagnose::Grade::Warning => Grade::Warning,
        diagnose::Grade::Error => Grade::Failure,
    };
    Outcome {
        check: NAME,
        result,
        found: diagnosis.what,
        remedy: Some(diagnosis.remedy).filter(|remedy| !remedy.is_empty()),
    }
}
