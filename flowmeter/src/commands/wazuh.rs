//! `flowmeter wazuh`

use std::{
    collections::BTreeMap,
    fmt::Write,
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use jiff::Timestamp;

use crate::{
    cli::{Age, Check, Configuration, Install, Place, Wazuh, WazuhCommand},
    wazuh::{
        age::age,
        conf::Conf,
        diagnose::{Diagnosis, Grade, diagnose, template},
        engine::Engine,
        event::{Event, MAX_LINE},
        host::{CONF, DEFAULT_ROOT, Host},
        install::{Done, install, needs_restart},
        list::List,
        pack, rule,
        uninstall::uninstall,
        verdict::Verdict,
    },
};

pub(super) fn run(arguments: &Wazuh) -> Result<()> {
    match &arguments.command {
        WazuhCommand::Install(arguments) => run_install(arguments),
        WazuhCommand::Check(arguments) => run_check(arguments),
        WazuhCommand::Uninstall(place) => {
            let host = host(place)?;
            told(&host, &uninstall(&host)?, "")
        }
        WazuhCommand::Age(arguments) => run_age(arguments),
    }
}

fn event_file(configuration: &Configuration) -> Result<PathBuf> {
    Ok(super::load(&configuration.sources())?.config.output.path)
}

fn host(place: &Place) -> Result<Host> {
    let events = event_file(&place.configuration)?;
    Host::new(place.root.clone(), place.manager, place.agent, events)
}

fn run_install(arguments: &Install) -> Result<()> {
    let host = host(&arguments.place)?;
    let program = std::env::current_exe().context("cannot find this program")?;
    let done = install(&host, arguments.flows, &program)?;
    let mut next = String::new();
    if host.manager {
        let path = |file: pack::PackFile| host.path(file.path);
        writeln!(
            next,
            "\nOnce, on the indexer and the dashboard (user and addresses are yours):\n  \
             curl -k -u admin -X PUT https://localhost:9200/_template/wazuh-netflow \
             -H 'Content-Type: application/json' -d @{}\n  \
             curl -k -u admin -X POST 'https://localhost/api/saved_objects/_import?overwrite=true' \
             -H 'osd-xsrf: true' -F file=@{}",
            path(pack::TEMPLATE).display(),
            path(pack::DASHBOARDS).display()
        )?;
        if !host.agent && host.events.exists() {
            writeln!(
                next,
                "\n{} is on this host too; for the manager to read it: flowmeter wazuh install --manager --agent",
                host.events.display()
            )?;
        }
    }
    told(&host, &done, &next)
}

fn told(host: &Host, done: &[Done], next: &str) -> Result<()> {
    let mut output = String::new();
    for done in done {
        writeln!(output, "{done}")?;
    }
    if needs_restart(done) {
        writeln!(output, "\nFor Wazuh to see it: {}", host.restart())?;
    }
    super::print(output + next)
}

fn run_check(arguments: &Check) -> Result<()> {
    let place = &arguments.place;
    let mut found = Vec::new();
    let mut output = String::new();
    // Rules can be tried anywhere, without a Wazuh that could be looked at.
    let anywhere = arguments.events.is_some() || arguments.template.is_some();
    let asked_for = place.manager || place.agent || place.root != Path::new(DEFAULT_ROOT);
    let host = if anywhere && !asked_for && !place.root.exists() {
        None
    } else {
        Some(host(place)?)
    };
    if let Some(host) = &host {
        found.extend(diagnose(host)?);
    }
    if let Some(file) = &arguments.template {
        found.extend(template::diagnose(&text(file)?)?);
    }
    for diagnosis in &found {
        writeln!(output, "{diagnosis}")?;
    }
    if let Some(file) = &arguments.events {
        if !found.is_empty() {
            output.push('\n');
        }
        let manager = host.as_ref().filter(|host| host.manager);
        verdicts(&text(file)?, &mut engine(manager, &mut output)?, &mut output)?;
    }
    super::print(output)?;
    match found
        .iter()
        .filter(|diagnosis: &&Diagnosis| diagnosis.grade == Grade::Error)
        .count()
    {
        0 => Ok(()),
        1 => bail!("something keeps events from becoming alerts"),
        errors => bail!("{errors} things keep events from becoming alerts"),
    }
}

fn text(file: &Path) -> Result<String> {
    if file == Path::new("-") {
        let mut text = String::new();
        io::stdin()
            .read_to_string(&mut text)
            .context("cannot read standard input")?;
        return Ok(text);
    }
    fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

/// The rules and lists that the manager has, or those of the pack.
fn engine(manager: Option<&Host>, output: &mut String) -> Result<Engine> {
    let installed = match manager {
        Some(host) => host.read(pack::RULES.path)?.map(|_| host),
        None => None,
    };
    let (rules, lists) = match installed {
        None => {
            let lists = BTreeMap::from([(pack::SCANNERS.path.to_owned(), pack::scanners())]);
            (pack::rules(false), lists)
        }
        Some(host) => {
            let mut rules = Vec::new();
            for file in host.xml_files("etc/rules") {
                let text = host.read(&file)?.unwrap_or_default();
                let (read, mistakes) = rule::read(&file, &text);
                rules.extend(read);
                for mistake in mistakes {
                    writeln!(output, "note: {mistake}")?;
                }
            }
            let conf = host.read(CONF)?.unwrap_or_default();
            let declared = Conf::read(&conf).map(|conf| conf.lists).unwrap_or_default();
            let mut lists = BTreeMap::new();
            for path in declared {
                let text = host.read(&path)?.unwrap_or_default();
                lists.insert(path, List::parse(&text));
            }
            (rules, lists)
        }
    };
    let (engine, mistakes) = Engine::new(rules, lists);
    for mistake in mistakes {
        writeln!(output, "note: {mistake}")?;
    }
    Ok(engine)
}

/// One verdict for each line; lines in a row with the same one share it.
fn verdicts(text: &str, engine: &mut Engine, output: &mut String) -> Result<()> {
    let mut last: Option<(usize, usize, String)> = None;
    for (number, line) in text.lines().enumerate() {
        let event = Event::decode(line);
        let verdict = judge(line, &event, engine);
        match &mut last {
            Some((_, to, same)) if *same == verdict => *to = number + 1,
            last => {
                flush(last.take(), output)?;
                *last = Some((number + 1, number + 1, verdict));
            }
        }
    }
    flush(last, output)
}

fn flush(run: Option<(usize, usize, String)>, output: &mut String) -> Result<()> {
    match run {
        Some((from, to, verdict)) if from == to => writeln!(output, "line {from}: {verdict}")?,
        Some((from, to, verdict)) => writeln!(output, "lines {from} to {to}: {verdict}")?,
        None => {}
    }
    Ok(())
}

fn judge(line: &str, event: &Event, engine: &mut Engine) -> String {
    let at = event
        .field("@timestamp")
        .and_then(|at| at.parse::<Timestamp>().ok());
    let at = at.map_or(0, |at| u64::try_from(at.as_second()).unwrap_or_default());
    let verdict: Verdict = engine.apply(event, at);
    let mut told = verdict.to_string();
    if line.len() > MAX_LINE {
        told.push_str(&format!(
            "\n    the agent cuts it: {} bytes, at most {MAX_LINE}",
            line.len()
        ));
    }
    if event.dropped > 0 {
        told.push_str(&format!("\n    {} fields too many are dropped", event.dropped));
    }
    told
}

fn run_age(arguments: &Age) -> Result<()> {
    let events = match &arguments.events {
        Some(events) => events.clone(),
        None => event_file(&arguments.configuration)?,
    };
    super::print(format!(
        "{}\n",
        age(&events, Timestamp::now(), arguments.silent_after)
    ))
}
