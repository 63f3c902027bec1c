package link

import (
	"strings"
	"testing"

	"github.com/besterhub/bester/handlers"
	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/hubtest"
)

func contains(s, part string) bool { return strings.Contains(s, part) }

func TestGroupKeepsTheContractOfHandlers(t *testing.T) {
	for name, kit := range map[string]func(h *testHub){
		"one process": func(h *testHub) {
			h.kit(hub.HandlerFunc(hubtest.Pass), handlers.Options{Name: "x"}, "reading/#")
		},
		"one credit": func(h *testHub) {
			h.kit(hub.HandlerFunc(hubtest.Pass), handlers.Options{Name: "x", Credits: 1}, "reading/#")
		},
		"three processes": func(h *testHub) {
			for range 3 {
				h.kit(hub.HandlerFunc(hubtest.Pass), handlers.Options{Name: "x", Credits: 7, Concurrency: 3}, "reading/#")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			hubtest.TestHandler(t, func(t *testing.T) hub.Handler {
				h := newHub(t, Options{})
				kit(h)
				return h.Group("x")
			})
		})
	}
}
