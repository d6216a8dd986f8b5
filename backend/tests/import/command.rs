//! `netqosctl import` as an operator calls it.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use netqos::import::{Kind, import};

use crate::{sample, sample_text};

fn netqosctl(args: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_netqosctl"))
        .arg("import")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("netqosctl was built");
    let mut stdin = child.stdin.take().expect("it is piped");
    // It may end without having read.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_file_and_the_standard_input_come_to_the_same() {
    let path = sample("xl.cfg");
    let from_file = netqosctl(&["xl", path.to_str().unwrap()], "");
    let from_stdin = netqosctl(&["xl", "-"], &sample_text("xl.cfg"));
    assert!(from_file.status.success(), "{from_file:?}");
    assert_eq!(from_file.stdout, from_stdin.stdout);
    assert!(text(&from_file.stdout).contains("ceil = \"10Mbit\""));
}

#[test]
fn what_is_wrong_is_said_and_ends_with_2() {
    for (args, input, want) in [
        (
            ["libvrt", "-"],
            "",
            "netqosctl: there is no kind `libvrt`: did you mean `libvirt`?\n",
        ),
        (
            ["xl", "-"],
            "rate=ten",
            "netqosctl: line 1: rate: `ten`: xl writes rates as",
        ),
        (["xl", "/nowhere"], "", "netqosctl: /nowhere: No such file"),
    ] {
        let output = netqosctl(&args, input);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        let error = text(&output.stderr);
        assert!(error.starts_with(want), "{error}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn commands_set_what_can_be_set_live_and_take_it_back() {
    let imported = import(Kind::Libvirt, &sample_text("libvirt.xml")).unwrap();
    let lines = |text: String| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(str::to_owned).collect()
    };
    let set = [
        "netqosctl set web from-guest ceil=10240Kbit cburst=256Kb",
        "netqosctl set web to-guest rate=1600Kbit ceil=8Mbit cburst=1Mb",
        "netqosctl set web-backup from-guest ceil=4Mbit cburst=500Kb",
    ];
    assert_eq!(lines(imported.to_set()), set);
    let unset = [
        "netqosctl set web from-guest ceil=none",
        "netqosctl set web to-guest rate=none ceil=none",
        "netqosctl set web-backup from-guest ceil=none",
    ];
    assert_eq!(lines(imported.to_unset()), unset);
}

#[test]
fn a_name_that_a_shell_would_read_is_quoted() {
    let text = "<interface type='vhostuser'><source path='/run/a;reboot.sock'/><bandwidth><outbound \
                average='1000'/></bandwidth></interface>";
    let set = import(Kind::Libvirt, text).unwrap().to_set();
    let command = set.lines().last().unwrap();
    assert_eq!(
        command,
        "netqosctl set 'a;reboot' from-guest ceil=8Mbit cburst=1000Kb"
    );
}
