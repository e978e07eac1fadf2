package ruleset_test

import (
	"fmt"
	"strings"
	"testing"

	"riposte"
	"riposte/internal/analysis"
	"riposte/internal/ossec"
)

// The address that a line is really about, and the bystander whom a stranger's
// text names.
const (
	real      = "192.0.2.7"
	bystander = "198.51.100.99"
)

// template is a line of a service in which a stranger chooses the text at ¤, as
// the service writes it: cut to a length, characters escaped. No service that is
// read here writes a NUL, at which the real systems end a line.
type template struct {
	line   string
	cut    int // bytes, 0: as long as it likes
	escape *strings.Replacer
}

var (
	nginxEscape  = strings.NewReplacer(`"`, `\x22`, `\`, `\x5C`, "\n", `\x0A`, "\r", `\x0D`, "\x00", `\x00`)
	apacheEscape = strings.NewReplacer(`"`, `\"`, `\`, `\\`, "\n", `\n`, "\r", `\r`, "\x00", `\x00`)
	syslogEscape = strings.NewReplacer("\n", "#012", "\r", "#015", "\x00", "#000")
)

const (
	sshdHead  = "Nov 23 06:00:00 web1 sshd[42]: "
	webHead   = real + " - - [23/Nov/2026:06:00:00 +0000] "
	errorHead = "[Mon Nov 23 07:27:54.669472 2026] [auth_basic:error] [pid 11422:tid 11432] [client " + real + ":51858] "
)

var templates = []template{
	{sshdHead + "Failed password for ¤ from " + real + " port 40312 ssh2", 100, syslogEscape},
	{sshdHead + "Failed password for invalid user ¤ from " + real + " port 40312 ssh2", 100, syslogEscape},
	{sshdHead + "Failed publickey for invalid user ¤ from " + real + " port 40312 ssh2: RSA SHA256:8Qz7Yk2dQ0y1kz9pQ1mX0aT5lW3v0cR8b2uJ4nHsE6o", 100, syslogEscape},
	{sshdHead + "Failed publickey for root from " + real + " port 40312 ssh2: RSA-CERT SHA256:8Qz7Yk2d ID ¤ (serial 0) CA RSA SHA256:1mX0aT5lW3v", 200, syslogEscape},
	{sshdHead + "Invalid user ¤ from " + real + " port 40312", 100, syslogEscape},
	{sshdHead + "error: PAM: Authentication failure for illegal user ¤ from " + real, 100, syslogEscape},
	{sshdHead + "error: maximum authentication attempts exceeded for invalid user ¤ from " + real + " port 40312 ssh2 [preauth]", 100, syslogEscape},
	{sshdHead + "Disconnecting invalid user ¤ " + real + " port 40312: Too many authentication failures [preauth]", 100, syslogEscape},
	{sshdHead + "Disconnecting invalid user x " + real + " port 40312: Change of username or service not allowed: (x,ssh-connection) -> (¤,ssh-connection) [preauth]", 100, syslogEscape},
	{sshdHead + "Connection closed by invalid user ¤ " + real + " port 40312 [preauth]", 100, syslogEscape},
	{sshdHead + "Connection reset by authenticating user ¤ " + real + " port 40312 [preauth]", 100, syslogEscape},
	{sshdHead + "Disconnected from invalid user ¤ " + real + " port 40312 [preauth]", 100, syslogEscape},
	{sshdHead + "ssh_dispatch_run_fatal: Connection from invalid user ¤ " + real + " port 40312: message authentication code incorrect [preauth]", 100, syslogEscape},
	{sshdHead + "Bad protocol version identification '¤' from " + real + " port 40312", 200, syslogEscape},
	{sshdHead + "error: kex_exchange_identification: client sent invalid protocol identifier \"¤\"", 200, syslogEscape},
	{sshdHead + "Received disconnect from " + real + " port 40312:11: ¤ [preauth]", 400, syslogEscape},
	{sshdHead + "Unable to negotiate with " + real + " port 3579: no matching cipher found. Their offer: ¤ [preauth]", 400, syslogEscape},
	{sshdHead + "input_userauth_request: invalid user ¤ [preauth]", 100, syslogEscape},
	{sshdHead + "Protocol major versions differ for " + real + " port 40312: SSH-2.0-OpenSSH_9.2 vs. ¤", 200, syslogEscape},
	{"Nov 23 06:00:00 web1 dropbear[42]: Bad password attempt for '¤' from " + real + ":56270", 100, syslogEscape},
	{"Nov 23 06:00:00 web1 vsftpd[42]: pam_unix(vsftpd:auth): authentication failure; logname= uid=0 euid=0 tty=ftp ruser=¤ rhost=" + real + " ", 200, syslogEscape},
	{"Nov 23 06:00:00 web1 sshd[42]: pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=" + real + "  user=¤", 200, syslogEscape},
	{"Nov 23 06:00:00 web1 login[42]: FAILED LOGIN 1 FROM " + real + " FOR ¤, Authentication failure", 200, syslogEscape},
	{"Nov 23 06:00:00 web1 sudo:     bob : 3 incorrect password attempts ; TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=¤", 0, syslogEscape},

	{webHead + `"GET /¤ HTTP/1.1" 404 153 "-" "-"`, 0, nginxEscape},
	{webHead + `"GET /?q=¤ HTTP/1.1" 200 153 "-" "-"`, 0, apacheEscape},
	{webHead + `"GET / HTTP/1.1" 404 153 "¤" "-"`, 0, nginxEscape},
	{webHead + `"GET / HTTP/1.1" 404 153 "-" "¤"`, 0, apacheEscape},
	{webHead + `"¤" 400 153 "-" "-"`, 0, nginxEscape},
	{real + ` - ¤ [23/Nov/2026:06:00:00 +0000] "GET / HTTP/1.1" 401 153 "-" "-"`, 0, nginxEscape},
	{real + ` - ¤ [23/Nov/2026:06:00:00 +0000] "GET / HTTP/1.1" 401 153 "-" "-"`, 0, apacheEscape},
	{`www.example.org:80 ` + real + ` - ¤ [23/Nov/2026:06:00:00 +0000] "GET / HTTP/1.1" 401 153 "-" "-"`, 0, apacheEscape},
	{errorHead + `AH01618: user ¤ not found: /priv`, 0, apacheEscape},
	{errorHead + `AH01617: user ¤: authentication failure for "/priv": Password Mismatch`, 0, apacheEscape},
	{errorHead + `AH00128: File does not exist: /www/¤`, 0, apacheEscape},
	{`[Fri Dec 13 06:59:54 2013] [error] [client ` + real + `] user ¤ not found: /private`, 0, apacheEscape},
	// nginx's error log escapes nothing, not even line breaks.
	{`2026/11/23 07:26:57 [error] 9444#9444: *2 open() "/www/¤" failed (2: No such file or directory), client: ` + real + `, server: , request: "GET /¤ HTTP/1.1", host: "h"`, 0, nil},
	{`2026/11/23 07:26:57 [error] 9444#9444: *4 user "¤" was not found in "/htp", client: ` + real + `, server: , request: "GET / HTTP/1.1", host: "h"`, 0, nil},

	{`Mon Oct 24 11:32:53 2016 [pid 1] [¤] FAIL LOGIN: Client "` + real + `"`, 200, syslogEscape},
	{`Nov 23 06:00:00 web1 vsftpd[42]: [¤] FAIL LOGIN: Client "` + real + `"`, 200, syslogEscape},
	{`Nov 23 06:00:00 web1 vsftpd[42]: [ftp] OK LOGIN: Client "` + real + `", anon password "¤"`, 200, syslogEscape},
	{`Nov 23 06:00:00 web1 proftpd[42]: host (evil.example.org[` + real + `]) - USER ¤: no such user found from evil.example.org [` + real + `] to 203.0.113.1:21`, 200, syslogEscape},
	{`Nov 23 06:00:00 web1 proftpd[42]: host (evil.example.org[` + real + `]) - USER ¤ (Login failed): Incorrect password`, 200, syslogEscape},
	{`Nov 23 06:00:00 web1 pure-ftpd[42]: (?@` + real + `) [WARNING] Authentication failed for user [¤]`, 200, syslogEscape},
	{`Nov 23 06:00:00 web1 ftpd[42]: FTP LOGIN FAILED FROM ` + real + `, ¤`, 200, syslogEscape},
	{`Nov 23 06:00:00 web1 ftpd[42]: FTP LOGIN FAILED FROM evil.example.org, ¤`, 200, syslogEscape},

	{`Nov 23 06:00:00 web1 postfix/smtpd[42]: NOQUEUE: reject: RCPT from unknown[` + real + `]: 554 5.7.1 <¤>: Relay access denied; from=<¤> to=<¤> proto=ESMTP helo=<¤>`, 200, syslogEscape},
	{`Nov 23 06:00:00 web1 postfix/smtpd[42]: warning: unknown[` + real + `]: SASL LOGIN authentication failed: UGFzc3dvcmQ6, sasl_username=¤`, 200, syslogEscape},
	{`Nov 23 06:00:00 web1 postfix/smtpd[42]: improper command pipelining after EHLO from unknown[` + real + `]: ¤`, 200, syslogEscape},
	{`Nov 23 06:00:00 web1 postfix/smtpd[42]: warning: Illegal address syntax from unknown[` + real + `] in MAIL command: ¤`, 200, syslogEscape},
	{`Nov 23 06:00:00 web1 dovecot[42]: imap-login: Disconnected (auth failed, 1 attempts in 2 secs): user=<¤>, method=PLAIN, rip=` + real + `, lip=203.0.113.1, TLS, session=<abc>`, 200, syslogEscape},
	{`Nov 23 06:00:00 web1 dovecot[42]: auth: sql(¤,` + real + `,<abc>): Password mismatch`, 200, syslogEscape},
	{`Nov 23 06:00:00 web1 dovecot[42]: auth: sql(bob,` + real + `,<abc>): unknown user (given password: ¤)`, 200, syslogEscape},
	{`Nov 23 06:00:00 web1 imapd-ssl[42]: LOGIN FAILED, user=¤, ip=[` + real + `], port=[40312]`, 200, syslogEscape},

	{`2026-11-23  6:00:27 12 [Warning] Access denied for user '¤'@'` + real + `' (using password: YES)`, 100, syslogEscape},
	{`Nov 23 06:00:00 web1 mysqld[42]: Access denied for user 'bob'@'` + real + `' to database '¤'`, 200, syslogEscape},
	{`2026-11-23T06:00:27.123456Z 12 [Note] [MY-010926] [Server] Access denied for user '¤'@'` + real + `' (using password: YES)`, 100, syslogEscape},
	{`2026-11-23 06:00:27.123 UTC [4711] ¤@¤ ` + real + ` FATAL:  password authentication failed for user "¤"`, 63, syslogEscape},
	{`2026-11-23 06:00:27.123 UTC [4711] ¤@¤ FATAL:  no pg_hba.conf entry for host "` + real + `", user "¤", database "¤", no encryption`, 63, syslogEscape},
	{`2026-11-23 06:00:27 UTC [4711]: [1-1] user=¤,db=¤,app=¤,client=` + real + ` FATAL:  password authentication failed for user "¤"`, 63, syslogEscape},

	{`Nov 23 06:00:00 web1 openvpn[42]: ` + real + `:40312 VERIFY ERROR: depth=0, error=certificate has expired: CN=¤`, 200, syslogEscape},
	{`Nov 23 06:00:00 web1 smbd[42]: Auth: [SMB2,(null)] user [¤]\[¤] at [Mon, 23 Nov 2026 06:00:27 UTC] with [NTLMv2] status [NT_STATUS_WRONG_PASSWORD] workstation [¤] remote host [ipv4:` + real + `:40312] mapped to [¤]\[¤]. local host [ipv4:203.0.113.1:445]`, 200, syslogEscape},
	{`Nov 23 06:00:00 win1 WinEvtLog: Security: AUDIT_FAILURE(4625): Microsoft-Windows-Security-Auditing: x: DOM: win1: An account failed to log on. Account Name:  ¤  Network Information:  Workstation Name: ¤  Source Network Address: ` + real + `  Source Port:  40312  Detailed Authentication Information:  Logon Process:  NtLmSsp`, 200, syslogEscape},

	// Any program may quote a stranger.
	{`Nov 23 06:00:00 web1 myapp[42]: the user said: ¤`, 0, syslogEscape},
	{`Nov 23 06:00:00 web1 myapp[42]: ¤`, 0, syslogEscape},
	{`Nov 23 06:00:00 web1 myapp: ¤`, 0, syslogEscape},
}

// render puts text at each ¤ as the service would.
func (t *template) render(text string) string {
	if t.cut > 0 && len(text) > t.cut {
		text = text[:t.cut]
	}
	if t.escape != nil {
		text = t.escape.Replace(text)
	}
	return strings.ReplaceAll(t.line, "¤", text)
}

// payloads are the texts with which a stranger would put the bystander in his
// place: whole lines of every service that name the bystander, what stands
// before and after the stranger's text in them, and their combinations with
// words that end a quoted text.
func payloads() []string {
	var out []string
	for _, t := range templates {
		line := strings.ReplaceAll(t.line, real, bystander)
		_, message, ok := strings.Cut(line, "]: ")
		if !ok {
			message = line
		}
		parts := strings.Split(message, "¤")
		first, last := parts[0], parts[len(parts)-1]
		for _, p := range []string{
			strings.ReplaceAll(line, "¤", "x"), strings.ReplaceAll(message, "¤", "x"),
			"x" + last, last, first + "x", "x" + last + first, "x" + last + first + "x",
		} {
			out = append(out, p, "\n"+p+"\n", p+"\x00")
		}
		// The end of a text that is cut to a length is where the forged part must
		// end for the service's own words to follow at once.
		for _, n := range []int{63, 100, 200, 400} {
			if len(last) < n {
				out = append(out, strings.Repeat("a", n-len(last))+last)
			}
		}
	}
	out = append(out, bystander, " "+bystander, " from "+bystander, "from="+bystander, "rhost="+bystander, ", rip="+bystander+", lip=1.1.1.1",
		"$(id)", "`id`", "; id", "| id", "%n%s", "\x1b[2J", "\xff\xfe", "::ffff:"+bystander)
	return out
}

// No text that a stranger can put into a line makes the line be about anybody
// else.
func TestNothingIsForged(t *testing.T) {
	texts := payloads()
	for _, d := range dialects {
		e := analysis.New(load(t, d), analysis.Options{Host: "test"})
		judged, taken, failures := 0, 0, 0
		for i := range templates {
			tpl := &templates[i]
			for _, text := range texts {
				location := "stdin"
				if strings.HasPrefix(tpl.line, "2026/11/23 07:26:57 [error]") {
					location = "/var/log/nginx/error.log"
				}
				for line := range strings.SplitSeq(tpl.render(text), "\n") {
					v := e.Test(&riposte.Event{Time: noon, Location: location, Text: line}, false)
					judged++
					ip, _ := v.Record.Field("srcip")
					if ip != "" {
						taken++
					}
					if !strings.Contains(ip, bystander) {
						continue
					}
					if d == ossec.OSSEC && location != "stdin" {
						continue // OSSEC's rules know no location: the log is not to be followed there
					}
					if v.Rule != nil && v.Rule.Level == 0 && location != "stdin" {
						continue // a line that is passed over
					}
					if failures++; failures <= 20 {
						t.Errorf("%s: the bystander is taken from %q (rule %v, decoder %s)", d, line, ruleID(&v), v.Record.Decoder.Name)
					}
				}
			}
		}
		if failures > 20 {
			t.Errorf("%s: and %d more", d, failures-20)
		}
		// That no address is ever taken would pass too.
		if taken < judged/4 {
			t.Errorf("%s: an address is taken from %d of %d lines only", d, taken, judged)
		}
		t.Logf("%s: %d templates, %d texts, %d lines, an address taken from %d", d, len(templates), len(texts), judged, taken)
	}
}

func ruleID(v *analysis.Verdict) string {
	if v.Rule == nil {
		return "none"
	}
	return fmt.Sprint(v.Rule.ID)
}
