package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// Exit codes.
const (
	exitFailed      = 1 // the message failed, the config is wrong, and so on
	exitUsage       = 2 // the arguments make no sense
	exitUnreachable = 3 // the hub cannot be reached
	exitDenied      = 4 // the hub does not let the user in
	exitSkipped     = 5 // send --lines has skipped lines; all others were sent

	exitInterrupted = 130 // Ctrl-C, except where it is the normal way to end
)

// An exitMeaning says when a command ends with a code.
type exitMeaning struct {
	code int
	when string
}

// What several commands say of a code.
const (
	whenUsage       = "wrong usage"
	whenUnreachable = "the hub cannot be reached, or has not answered in time"
	whenDenied      = "the hub does not let the user in"
	whenInterrupted = "interrupted"
	whenUnwritten   = "the output could not be written"
)

// exitMeanings are the exit codes of each command, by its path.
var exitMeanings = map[string][]exitMeaning{
	"bester": {
		{0, "good"}, {exitFailed, "failed: the message, the config, and so on"}, {exitUsage, whenUsage},
		{exitUnreachable, whenUnreachable}, {exitDenied, whenDenied},
		{exitSkipped, "bester send --lines has skipped lines, and sent all others"},
		{exitInterrupted, "interrupted, except where Ctrl-C is the way to end"},
	},
	"bester send": {
		{0, "the message, with --lines each of them, has succeeded; a note is no failure"},
		{exitFailed, "a message has failed; DATA is no JSON, --strict stopped at a line, or a file or the input cannot be read"},
		{exitUsage, whenUsage}, {exitUnreachable, whenUnreachable + "; then the message may have arrived or not"}, {exitDenied, whenDenied},
		{exitSkipped, "with --lines: lines were skipped, and all others have succeeded"},
		{exitInterrupted, whenInterrupted + " before each message had its answer"},
	},
	"bester request": {
		{0, "as many messages came back as --count says"},
		{exitFailed, "the message has failed, or too little came back in time; DATA is no JSON, a file cannot be read, or " + whenUnwritten},
		{exitUsage, whenUsage}, {exitUnreachable, whenUnreachable + "; then the message may have arrived or not"},
		{exitDenied, whenDenied}, {exitInterrupted, whenInterrupted},
	},
	"bester listen": {
		{0, "ended by Ctrl-C, by --for, or after as many messages as --count says; or nobody reads its output any more"},
		{exitFailed, "with --for and --count: fewer messages have come; there are more patterns than the hub takes; a file cannot be read, or " + whenUnwritten},
		{exitUsage, whenUsage}, {exitUnreachable, "the hub cannot be reached and waiting does not help, or the time of --for is over"},
		{exitDenied, whenDenied + ", or may not receive what a PATTERN stands for"}, {exitInterrupted, whenInterrupted + " before it had reached the hub"},
	},
	"bester status": {
		{0, "the status is shown"}, {exitFailed, "the account is no administrator's, a file cannot be read, or " + whenUnwritten},
		{exitUsage, whenUsage}, {exitUnreachable, whenUnreachable}, {exitDenied, whenDenied}, {exitInterrupted, whenInterrupted},
	},
	"bester route": {
		{0, "the way is shown, also where it leads nowhere"}, {exitFailed, "the account is no administrator's, a file cannot be read, or " + whenUnwritten},
		{exitUsage, whenUsage}, {exitUnreachable, whenUnreachable}, {exitDenied, whenDenied}, {exitInterrupted, whenInterrupted},
	},
	"bester kick": {
		{0, "the sessions are ended"}, {exitFailed, "the user is not logged in, the account is no administrator's, or a file cannot be read"},
		{exitUsage, whenUsage}, {exitUnreachable, whenUnreachable}, {exitDenied, whenDenied}, {exitInterrupted, whenInterrupted},
	},
	"bester check": {
		{0, "besterd would start with it; with --strict, there is no warning either"},
		{exitFailed, "besterd would not start with it, or with --strict there is a warning; or it cannot be read, or " + whenUnwritten},
		{exitUsage, whenUsage},
	},
	"bester account":        {{0, "good"}, {exitFailed, "the config that names the accounts file cannot be used"}, {exitUsage, whenUsage}},
	"bester account add":    {{0, "the account is added"}, {exitFailed, "there is one of that name already, the password cannot be one, or " + accountsUnusable}, {exitUsage, whenUsage}, {exitInterrupted, whenInterrupted + ": nothing was changed"}},
	"bester account allow":  {{0, "what it may do is changed"}, {exitFailed, accountMissing}, {exitUsage, whenUsage}},
	"bester account list":   {{0, "the accounts are listed"}, {exitFailed, accountsUnusable + ", or " + whenUnwritten}, {exitUsage, whenUsage}},
	"bester account passwd": {{0, "the password is changed"}, {exitFailed, "the password cannot be one, " + accountMissing}, {exitUsage, whenUsage}, {exitInterrupted, whenInterrupted + ": nothing was changed"}},
	"bester account remove": {{0, "the account is removed"}, {exitFailed, accountMissing}, {exitUsage, whenUsage}},
	"bester handle": {
		{0, "it was told to stop, by a signal or by the hub that started it"},
		{exitFailed, "the hub started it, and its connection failed or could not be made"},
		{exitUsage, whenUsage + ", also of its own options"}, {exitDenied, "the hub does not let it in: a wrong password, or types that another serves"},
	},
	"bester demo": {
		{0, "readings have arrived, and the time is over or Ctrl-C came"},
		{exitFailed, "the hub cannot be started or ended badly, nothing arrived, or " + whenUnwritten},
		{exitUsage, whenUsage}, {exitUnreachable, "the hub that it started cannot be reached"}, {exitInterrupted, whenInterrupted + " before the hub was there"},
	},
	"bester spool":        {{0, "good"}, {exitFailed, whenUnwritten}, {exitUsage, whenUsage}},
	"bester spool verify": {{0, "there is no damage; what a power cut or kill -9 may cost is none"}, {exitFailed, "damage, or " + whenUnwritten}, {exitUsage, spoolUsage}, {exitInterrupted, whenInterrupted}},
	"bester spool peek":   {{0, "the records are shown"}, {exitFailed, whenUnwritten}, {exitUsage, spoolUsage}, {exitInterrupted, whenInterrupted}},
	"bester spool export": {
		{0, "all records were written"}, {exitFailed, "records are damaged or missing, and all others were written; or " + whenUnwritten},
		{exitUsage, spoolUsage + ", or the file of --output is there already"}, {exitInterrupted, whenInterrupted},
	},
	"bester completion":            {{0, "good"}, {exitFailed, whenUnwritten}, {exitUsage, whenUsage}},
	"bester completion bash":       {{0, "the script is written"}, {exitFailed, whenUnwritten}, {exitUsage, whenUsage}},
	"bester completion fish":       {{0, "the script is written"}, {exitFailed, whenUnwritten}, {exitUsage, whenUsage}},
	"bester completion powershell": {{0, "the script is written"}, {exitFailed, whenUnwritten}, {exitUsage, whenUsage}},
	"bester completion zsh":        {{0, "the script is written"}, {exitFailed, whenUnwritten}, {exitUsage, whenUsage}},
	"bester help":                  {{0, "the help is shown"}, {exitFailed, whenUnwritten}, {exitUsage, "there is no such command"}},
	"bester man":                   {{0, "the pages are written"}, {exitFailed, "they could not be written"}, {exitUsage, whenUsage}},
}

const (
	accountMissing   = "there is no such account, or " + accountsUnusable
	accountsUnusable = "the accounts file, or the config that names it, cannot be used"
	spoolUsage       = whenUsage + ", or DIR is no spool or cannot be read"
)

// exitHeading stands before the exit codes at the end of a command's help.
const exitHeading = "\n\nExit status:\n\n"

// documentExits adds to the help of a command and those below it what their exit codes mean.
func documentExits(cmd *cobra.Command) {
	if cmd.Long == "" {
		cmd.Long = cmd.Short + "."
	}
	if meanings := exitMeanings[cmd.CommandPath()]; meanings != nil {
		cmd.Long = strings.TrimRight(cmd.Long, "\n") + exitHeading + exitTable(meanings)
	}
	for _, c := range cmd.Commands() {
		documentExits(c)
	}
}

func exitTable(meanings []exitMeaning) string {
	var rows [][2]string
	for _, m := range meanings {
		rows = append(rows, [2]string{fmt.Sprint(m.code), m.when})
	}
	return strings.TrimRight(table(rows), "\n")
}
