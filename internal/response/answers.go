package response

import "riposte"

// Answers reports whether any response is bound to the rule, so that an alert
// of it has to be planned for even when it is not logged.
func (p *Planner) Answers(rule *riposte.Rule) bool {
	if unanswered(rule) != "" {
		return false
	}
	for i := range p.responses {
		if p.bound(&p.responses[i], rule) {
			return true
		}
	}
	return false
}
