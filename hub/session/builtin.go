package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/account"
	"github.com/besterhub/bester/hub/wire"
)

// builtin carries out a command that the hub itself serves, under the type
// "builtin". closes means that the session is to be closed without an answer.
//
//	close, logout   ends the session
//	login           nothing: who sends it is logged in
//	changePassword  sets the account's password, given the old one
//	status          replies with the hub's status, to administrators
//	kick            ends all sessions of the user that it names, for administrators; replies
//	                with their number
func (s *session) builtin(data hub.Data) (reply []byte, closes bool, err error) {
	json, err := wire.AppendJSON(nil, data)
	if err != nil {
		return nil, false, err
	}
	b, err := wire.ParseClassicBuiltin(json)
	if err != nil {
		return nil, false, err
	}
	switch b.Command {
	case "close", "logout":
		return nil, true, nil
	case "login":
		return nil, false, nil
	case "changePassword":
		return nil, false, s.changePassword(b)
	case "status":
		if s.server.o.Status == nil || !s.account.Load().IsAdmin() {
			return nil, false, s.notAdmin()
		}
		s.beforeBlocking() // Status may take a moment
		return s.server.o.Status(), false, nil
	case "kick":
		reply, err = s.kick(hub.UserName(b.User))
		return reply, false, err
	}
	return nil, false, fmt.Errorf("%w: unknown builtin command %q", hub.ErrHandler, b.Command)
}

func (s *session) changePassword(b wire.ClassicBuiltin) error {
	if s.server.o.Accounts == nil {
		return fmt.Errorf("%w: this hub has no accounts", hub.ErrDenied)
	}
	if b.User != "" && b.User != string(s.name) {
		return fmt.Errorf("%w: only one's own password can be changed", hub.ErrDenied)
	}
	s.beforeBlocking()
	err := s.throttleLogin(string(s.name), nil, func(ctx context.Context) error {
		return s.server.o.Accounts.ChangePassword(ctx, s.name, b.Password, b.NewPassword)
	})
	if err != nil {
		s.warn(&s.server.logLimiters.password, "password not changed", slog.String("user", string(s.name)), slog.Any("err", err))
		reason := hub.ErrDenied
		if errors.Is(err, account.ErrTooOften) || errors.Is(err, account.ErrBusy) || errors.Is(err, hub.ErrThrottled) {
			reason = hub.ErrFull // it may be changed later
		}
		return fmt.Errorf("%w: password not changed: %v", reason, err)
	}
	s.log.Info("password changed")
	return nil
}
