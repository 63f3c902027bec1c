package main

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// A lineCounts counts what became of the lines of send --lines.
type lineCounts struct {
	answered, failed, skipped   int
	firstFailed, firstSkipped   int // their line numbers; 0: none
	firstFailure, firstSkipping error
	failNotices, skipNotices    noticeLimiter
	noteNotices                 noticeLimiter

	noted, firstNoted int // messages that the hub had a note on, and the line of the first
	firstNote         string
}

// note counts the hub's note on a message that has not failed; "" is none. It reports whether
// the note may be told, and what to add to it.
func (t *lineCounts) note(number int, note string) (more string, ok bool) {
	if note == "" {
		return "", false
	}
	t.noted++
	if t.firstNoted == 0 || number < t.firstNoted {
		t.firstNoted, t.firstNote = number, note
	}
	return t.noteNotices.allow()
}

// noteSummary says what the hub noted; "" if all of it was told.
func (t *lineCounts) noteSummary() string {
	if t.noted == t.noteNotices.told {
		return ""
	}
	return fmt.Sprintf("%d messages, line %d the first: %s", t.noted, t.firstNoted, t.firstNote)
}

// answer counts the hub's answer to a line. It reports whether a failure may be told, and
// what to add to it.
func (t *lineCounts) answer(number int, err error) (more string, ok bool) {
	t.answered++
	if err == nil {
		return "", false
	}
	t.failed++
	if t.firstFailed == 0 || number < t.firstFailed {
		t.firstFailed, t.firstFailure = number, err
	}
	return t.failNotices.allow()
}

// skip counts a line that cannot be sent. It reports whether that may be told, and what to
// add to it.
func (t *lineCounts) skip(number int, err error) (more string, ok bool) {
	t.skipped++
	if t.firstSkipped == 0 || number < t.firstSkipped {
		t.firstSkipped, t.firstSkipping = number, err
	}
	return t.skipNotices.allow()
}

// summary counts the messages that have an answer.
func (t *lineCounts) summary() string {
	were := "were"
	if t.answered == 1 {
		were = "was"
	}
	return fmt.Sprintf("%s %s sent, %d failed", plural(t.answered, "message"), were, t.failed)
}

// failures returns an error if messages have failed or lines were skipped.
func (t *lineCounts) failures() (err error) {
	if t.skipped > 0 {
		err = &exitError{exitSkipped, fmt.Errorf("%s skipped; the first, line %d: %w", plural(t.skipped, "line"), t.firstSkipped, t.firstSkipping)}
	}
	if t.failed > 0 {
		failed := fmt.Errorf("%d of %s failed; the first, line %d: %w", t.failed, plural(t.answered, "message"), t.firstFailed, t.firstFailure)
		err = &exitError{exitFailed, errors.Join(failed, err)}
	}
	return err
}

// outcome returns what is wrong at the end, nil if nothing is. why is the reason of an end
// before that of the input.
func (s *lineSender) outcome(why error) error {
	s.endProgress()
	if note := s.noteSummary(); note != "" {
		s.report("bester: note: " + note)
	}
	if errors.Is(s.ended, context.Canceled) && why == nil {
		why = s.ended
	}
	switch {
	case errors.Is(why, context.Canceled) && len(s.kept) > 0:
		why = &exitError{exitInterrupted, s.unfinished("interrupted", s.kept[0].number)}
	case why != nil && s.lastLine > 0 && !errors.Is(why, context.Canceled):
		next := s.lastLine + 1
		if len(s.kept) > 0 {
			next = s.kept[0].number
		}
		why = &exitError{exitCode(why), s.unfinished(why.Error(), next)}
	case s.wrong != nil:
		why = &exitError{exitFailed, fmt.Errorf("line %d: %w\nStopped there. %s. To go on, mend it and send what is left:\n%s",
			s.lastLine, s.wrong, s.summary(), resumeCommand(s.lastLine, s.typ))}
	case s.ended != nil && !errors.Is(s.ended, io.EOF) && !errors.Is(s.ended, context.Canceled):
		why = &exitError{exitFailed, fmt.Errorf("standard input, after line %d: %w", s.lastLine, s.ended)}
	}
	failures := s.failures()
	if why == nil || failures == nil {
		if why == nil {
			return failures
		}
		return why
	}
	return &exitError{exitCode(why), errors.Join(why, failures)}
}

// unfinished returns an error that says from which line on there is no answer.
func (s *lineSender) unfinished(why string, from int) error {
	return fmt.Errorf("%s\n%s; line %d and what follows it have no answer. To go on from there:\n%s", why, s.summary(), from, resumeCommand(from, s.typ))
}

func resumeCommand(line int, typ string) string {
	return fmt.Sprintf("  tail -n +%d FILE | bester send --lines %s", line, typ)
}

// showProgress shows the counts on a terminal.
func (s *lineSender) showProgress() {
	if s.progress != nil {
		s.progress.show(s.progressText)
	}
}

func (s *lineSender) progressText() string {
	return fmt.Sprintf("%d sent, %d failed", s.answered, s.failed)
}

func (s *lineSender) endProgress() {
	if s.progress != nil {
		s.progress.end(s.progressText())
	}
}
