// Package riposte holds the words of active response and nothing else: an
// Event is a log record and where it came from, an Alert is a rule that fired
// on it, an Order is what is to be done about the alert, to which target, on
// which hosts and until when, and a Receipt is what one host did about one
// order.
//
// Every room under internal/ speaks in these four nouns. The way of a line is
//
//	source → Event → analysis → Alert → response → Order → guard → executor → enforce
//	                                                Receipt ←┘
//
// docs/architecture.md describes the rooms and what each may import.
package riposte
