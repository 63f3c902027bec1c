package setup_test

import (
	"strings"
	"testing"

	"github.com/besterhub/bester/cmd/internal/setup"
	devices "github.com/besterhub/bester/devices/catalog"
	handlers "github.com/besterhub/bester/handlers/catalog"
	"github.com/besterhub/bester/hub/config"
)

// The example names every kind, and every option of a device, with what its help says.
func TestExampleNamesAllKinds(t *testing.T) {
	for _, k := range handlers.Kinds {
		if !strings.Contains(config.Example, k.Name) {
			t.Errorf("hub/config/example.toml: no filter of kind %s", k.Name)
		}
	}
	for _, k := range devices.Kinds {
		for _, o := range k.Options {
			found := false
			for line := range strings.Lines(config.Example) {
				found = found || strings.HasPrefix(line, "#"+o.Key+" = ") && strings.HasSuffix(line, "# "+k.Name+": "+o.Help+"\n")
			}
			if !found {
				t.Errorf("hub/config/example.toml: no line #%s = … # %s: %s", o.Key, k.Name, o.Help)
			}
		}
	}
}

// With the "#" taken away it is a config.
func TestExampleWithAllItsSettings(t *testing.T) {
	var all strings.Builder
	for line := range strings.Lines(config.Example) {
		if len(line) > 1 && line[0] == '#' && line[1] != ' ' {
			line = line[1:]
		}
		all.WriteString(line)
	}
	if _, err := setup.Parse("example.toml", []byte(all.String())); err != nil {
		t.Error(err)
	}
}
