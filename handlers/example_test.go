package handlers_test

import (
	"github.com/besterhub/bester/handlers"
	"github.com/besterhub/bester/hub"
)

// The main function of a handler that passes on what comes from the greenhouse and drops the rest.
func ExampleMain() {
	handlers.Main(hub.HandlerFunc(func(m *hub.Message, a *hub.Answer) error {
		if hub.Pattern("reading/greenhouse/#").Match(m.Type) {
			a.Pass(m.Data)
		} else {
			a.Drop()
		}
		return nil
	}), "reading/#")
}
