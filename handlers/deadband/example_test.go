package deadband_test

import (
	"fmt"

	"github.com/besterhub/bester/handlers/deadband"
	"github.com/besterhub/bester/hub"
)

// show prints what a filter wants done.
type show struct{}

func (show) Do(a *hub.Answer, c *hub.Command) { fmt.Println(c.Verb, string(c.Data.Bytes)) }
func (show) Done(*hub.Answer, error)          {}

func Example() {
	f, err := deadband.New(deadband.Options{Band: 0.5})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, pack := range []string{
		`[{"bn":"greenhouse/","n":"temperature","v":21.4},{"n":"humidity","v":55}]`,
		`[{"bn":"greenhouse/","n":"temperature","v":21.5},{"n":"humidity","v":56}]`,
		`[{"bn":"greenhouse/","n":"temperature","v":21.6},{"n":"humidity","v":56}]`,
	} {
		m := hub.Message{Type: "reading/greenhouse", Data: hub.Data{Encoding: hub.JSON, Bytes: []byte(pack)}}
		f.Handle(&m, hub.NewAnswer(&m, show{}))
	}
	// Output:
	// pass [{"bn":"greenhouse/","n":"temperature","v":21.4},{"n":"humidity","v":55}]
	// pass [{"bn":"greenhouse/","n":"humidity","v":56}]
	// drop
}
