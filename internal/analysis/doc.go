// Package analysis turns events into alerts: it pre-decodes, decodes, matches
// and correlates them as OSSEC or Wazuh would. It is pure: it reads no file and
// knows no time but the event's.
//
// The work has two stages. Stage one (Worker) needs nothing but the ruleset and
// the event, so any number of workers can do it at the same time. Stage two
// (Engine) needs what happened before (frequencies, first-time-seen keys,
// check_diff, ignore), so it is done in the order of the events by one
// goroutine. Pipeline joins the two. The verdicts do not depend on the number
// of workers.
package analysis
