package alarm_test

import (
	"fmt"

	"github.com/besterhub/bester/handlers/alarm"
	"github.com/besterhub/bester/hub"
)

// show prints what a filter wants done.
type show struct{}

func (show) Do(a *hub.Answer, c *hub.Command) { fmt.Println(c.Verb, c.Type, string(c.Data.Bytes)) }
func (show) Done(*hub.Answer, error)          {}

func Example() {
	limit := 30.0
	f, err := alarm.New(alarm.Options{Name: "temperature", Above: &limit})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, v := range []string{"29.5", "31.2", "31.3", "29.9"} {
		m := hub.Message{Type: "reading/greenhouse", Data: hub.Data{Bytes: []byte(`[{"n":"temperature","t":1732288000,"v":` + v + `}]`)}}
		f.Handle(&m, hub.NewAnswer(&m, show{}))
	}
	// Output:
	// pass  [{"n":"temperature","t":1732288000,"v":29.5}]
	// pass  [{"n":"temperature","t":1732288000,"v":31.2}]
	// sendHandler alarm/greenhouse [{"bn":"temperature","bt":1732288000,"v":31.2},{"n":"/alarm","vb":true},{"n":"/above","v":30}]
	// pass  [{"n":"temperature","t":1732288000,"v":31.3}]
	// pass  [{"n":"temperature","t":1732288000,"v":29.9}]
	// sendHandler alarm/greenhouse [{"bn":"temperature","bt":1732288000,"v":29.9},{"n":"/alarm","vb":false},{"n":"/above","v":30}]
}
