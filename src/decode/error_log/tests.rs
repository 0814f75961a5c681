//! What is read in lines of all the formats.

use proptest::prelude::*;

use super::*;

const RESUMED: &str = "AH00489: Apache/2.4.71 (Debian) configured -- resuming normal operations";

fn read(text: &str) -> (&'static str, Option<&'static str>, Option<i32>) {
    let LogLine { level, code, pid } = line(text.as_bytes());
    (level.label(), code.map(LogCode::label), pid.map(Pid::as_raw))
}

#[test]
fn the_default_format_is_read() {
    let time = "[Sun Nov 22 10:30:00.123456 2026]";
    for (rest, expected) in [
        (
            "[mpm_event:notice] [pid 123:tid 456] AH00489: Apache/2.4.71 configured",
            ("notice", Some("AH00489"), Some(123)),
        ),
        (
            "[:emerg] [pid 1:tid 1] AH00020: Configuration Failed, exiting",
            ("emerg", Some("AH00020"), Some(1)),
        ),
        ("[ssl:emerg] [pid 7] AH02312: Fatal error", ("emerg", Some("AH02312"), Some(7))),
        (
            "[mpm_event:error] [pid 9:tid 9] (11)Resource temporarily unavailable: AH00481: fork: x",
            ("error", Some("AH00481"), Some(9)),
        ),
        (
            "[core:trace3] [pid 9:tid 9] core.c(4711): (2)No such file or directory: [client ::1:80] AH00128: File",
            ("trace", Some("other"), Some(9)),
        ),
        (
            "[watchdog:debug] [pid 9] mod_watchdog.c(1): AH010033: Watchdog",
            ("debug", Some("other"), Some(9)),
        ),
        (
            "[authz_core:error] [pid 9:tid 9] [client 192.0.2.1:4711] AH01630: client denied",
            ("error", Some("other"), Some(9)),
        ),
        (
            "[authz_core:error] [remote 192.0.2.1:4711] [pid 9:tid 9] AH01630: client denied",
            ("error", Some("other"), Some(9)),
        ),
        ("[notice] caught SIGTERM, shutting down", ("notice", None, None)),
        ("[notice] child pid 4711 exit signal", ("notice", None, None)),
        ("[error] [client 192.0.2.1] File does not exist: /x", ("error", None, None)),
        (
            "[mpm_event:alert] [pid 3:tid 4] AH00050: Child 5 returned\r",
            ("alert", Some("AH00050"), Some(3)),
        ),
        ("[mpm_prefork:notice] [pid 3:tid AH00163: Apache", ("notice", Some("AH00163"), Some(3))),
        (
            "[mpm_prefork:notice] [pid 3:tid (98)[x] y: AH00072: z]",
            ("notice", Some("AH00072"), Some(3)),
        ),
        (
            "[core:error] [pid 3:tid [client 192.0.2.1:1] AH01630: z]",
            ("error", Some("other"), Some(3)),
        ),
        ("[core:error] [client AH01630: z]", ("error", Some("other"), None)),
        ("[core:crit] [pid 3:tid 4]\tAH00102: x", ("crit", Some("other"), Some(3))),
        ("[core:warn] [pid 99999999999:tid 4] AH00098: x", ("warn", Some("AH00098"), None)),
        ("[core:info] [pid 0] AH00096: x", ("info", Some("other"), None)),
        ("[core:verbose] [pid 5] AH00096: x", ("none", Some("other"), Some(5))),
    ] {
        assert_eq!(read(&format!("{time} {rest}")), expected, "{rest}");
        assert_eq!(read(&format!("[2026-11-22 10:38:22.146666] {rest}")), expected, "{rest}");
    }
}

#[test]
fn lines_without_any_prefix_are_read() {
    for (text, code) in [
        ("AH00526: Syntax error on line 1 of /etc/httpd.conf:", Some("AH00526")),
        ("(98)Address already in use: AH00072: make_sock: could not bind", Some("AH00072")),
        ("AH00052: child pid 4711 exit signal Segmentation fault (11)", Some("AH00052")),
        ("AH00016 Configuration Failed", Some("AH00016")),
        ("apache2: Syntax error on line 8 of /etc/httpd.conf: AH00526: x", None),
        ("libgcc_s.so.1 must be installed for pthread_exit to work", None),
        ("Invalid command 'AH00489: ', perhaps misspelled", None),
        ("AH0489: too short", None),
        ("AH0000489: too long", None),
        ("AH00489", None),
        ("AH00489-x: no code", None),
        ("XAH00489: no code", None),
        ("ah00489: no code", None),
        ("##### err.log", None),
        ("(x)AH00489: no code", None),
        ("(98", None),
        ("[", None),
        ("[]", None),
        ("{", None),
        ("", None),
        ("\r", None),
        (" \t\0", None),
    ] {
        assert_eq!(read(text), ("none", code, None), "{text:?}");
    }
}

#[test]
fn formats_of_an_operators_own_are_read() {
    for text in [
        "notice AH00489: x",
        "notice: AH00489: x",
        "2026-11-22 16:28:51.293777 x.local notice 27441 1397 (111)Connection refused AH00489: x",
        "mpm_event:notice AH00489: x",
        "2026-11-22 10:38:22.146666 [mpm_event:notice] AH00489: x",
        "2026-11-22T10:38:22 notice mpm_event 123 AH00489: x",
        "Sun Nov 22 10:30:00 2026 mpm_event notice AH00489: x",
        "2026-11-22 10:38:22|notice|123|AH00489: x",
        "[2026-11-22 10:38:22] [mpm_event] [notice] [123] [-] (98)Some error: AH00489: x",
        "level=notice msg=\"AH00489: x\"",
        "time=\"2026-11-22 10:38:22\" module=mpm_event level=\"notice\" msg=\"(98)Some error: AH00489: x\"",
        "<29>Nov 22 10:46:23 host httpd[9100]: [mpm_event:notice] AH00489: x",
        "\0\0\0[time] [notice] AH00489: x",
    ] {
        assert_eq!(read(text), ("notice", Some("AH00489"), None), "{text:?}");
    }
    for text in [
        "notice pid 123 tid 456 AH00489: x",
        "level=notice pid=123 msg=\"AH00489: x\"",
        "1795344383228 <29>Nov 22 10:46:23 host httpd[9100]: [mpm_event:notice] [pid 123:tid 9] AH00489: x",
    ] {
        assert_eq!(read(text), ("notice", Some("AH00489"), Some(123)), "{text:?}");
    }
}

#[test]
fn json_is_read_whatever_its_order() {
    for text in [
        r#"{"time":"x","level":"notice","pid":"123","msg":"AH00489: x"}"#,
        r#"{"msg":"AH00489: x","pid":123,"level":"notice"}"#,
        r#"{ "Severity" : "notice" , "Process" : 123 , "Message" : "(98)In use: AH00489: x" }"#,
        r#"{"lvl":"mpm_event:notice","process_id":"123:tid 4","text":"AH00489: \"x\""}"#,
        r#"{"log.level":"notice","process":{"pid":123},"message":"AH00489: x"}"#,
        r#"{"agent":"\"level\":\"crit\",\"msg\":\"AH00052: x","level":"notice","pid":123,"msg":"AH00489: x"}"#,
        r#"{"list":["msg","AH00052: x"],"level":"notice","pid":123,"msg":"AH00489: x"}"#,
        r#"{"log":"[time] [mpm_event:notice] [pid 123:tid 4] AH00489: x\n","stream":"stderr"}"#,
        r#"{"level":"notice","pid":123,"msg":"AH00489: x, and no en"#,
        r#"{"a":"notice","b":"AH00489: x","pid":123}"#,
        r#"{"\x1b":"\x1b","level":"notice","pid":123,"msg":"AH00489: \x1b"}"#,
    ] {
        assert_eq!(read(text), ("notice", Some("AH00489"), Some(123)), "{text}");
    }
    for (text, expected) in [
        (r#"{"agent":"AH00489: x","level":"error","msg":"no code"}"#, ("error", None, None)),
        (r#"{"level":"error","msg":"no code","agent":"AH00489: x"}"#, ("error", None, None)),
        (r#"{"level":17,"pid":-1,"msg":null}"#, ("none", None, None)),
        (r#"{"level""#, ("none", None, None)),
        (r#"{"level":"#, ("none", None, None)),
        (r#"{"level":"notice\"#, ("none", None, None)),
    ] {
        assert_eq!(read(text), expected, "{text}");
    }
}

#[test]
fn what_clients_and_scripts_choose_is_no_code() {
    for rest in [
        format!("[client 192.0.2.1:1] script '/srv/x {RESUMED}' not found"),
        format!("[client 192.0.2.1:1] [login] {RESUMED}"),
        format!("[client 192.0.2.1:1] 192.0.2.1 {RESUMED}"),
        format!("[client 192.0.2.1:1] PHP message: {RESUMED}"),
        format!("[client 192.0.2.1:1] [x {RESUMED}"),
        format!("[client 192.0.2.1:1] [x [y] {RESUMED}"),
        format!("PHP Notice:  {RESUMED}"),
        format!("mod_dumpio.c(1): [client ::1:1] mod_dumpio: dumpio_in (data-HEAP): {RESUMED}"),
        format!("[client 192.0.2.1:1] File does not exist: /srv/{RESUMED}"),
        format!("[client 192.0.2.1:1] {}{RESUMED}", "x".repeat(2000)),
    ] {
        let text = format!("[Sun Nov 22 10:30:00.123456 2026] [php:error] [pid 1:tid 2] {rest}");
        assert_eq!(read(&text), ("error", None, Some(1)), "{text}");
    }
    let first = format!("[t] [cgid:error] [pid 1] [client ::1:1] AH01215: {RESUMED}");
    assert_eq!(read(&first), ("error", Some("other"), Some(1)));
}

#[test]
fn every_code_and_every_level_is_known() {
    for known in LogCode::ALL {
        let text = format!("[time] [core:info] {}: x", known.label());
        let expected = if *known == LogCode::Other { None } else { Some(*known) };
        assert_eq!(line(text.as_bytes()).code, expected);
    }
    for level in LogLevel::ALL.iter().filter(|level| **level != LogLevel::Trace) {
        assert_eq!(line(format!("[time] [core:{}] x", level.label()).as_bytes()).level, *level);
    }
    for number in 1..=8 {
        assert_eq!(read(&format!("[time] [core:trace{number}] x")).0, "trace");
    }
    assert_eq!(read("[time] [core:trace9] x").0, "none");
}

proptest! {
    #[test]
    fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = line(&bytes);
    }

    /// Put together of what the decoder looks for, so that its branches meet.
    #[test]
    fn any_parts_are_read(parts in proptest::collection::vec(0..24_usize, 0..40)) {
        const PARTS: [&str; 24] = [
            "[", "]", "(", ")", ":", " ", "\"", "\\", "{", "}", "=", ",", "AH00489", "AH00489: ",
            "pid ", "12", "notice", "level", "msg", "client ", "x.c(1):", "<", ">", "\0",
        ];
        let text: String = parts.into_iter().map(|part| PARTS[part]).collect();
        let (level, code, _) = read(&text);
        prop_assert!(code.is_none_or(|_| text.contains("AH00489")));
        prop_assert!(level == "none" || text.contains(level));
    }
}
