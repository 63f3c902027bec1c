package throttle_test

import (
	"fmt"
	"time"

	"github.com/besterhub/bester/handlers/throttle"
	"github.com/besterhub/bester/hub"
)

// show prints what a filter wants done.
type show struct{}

func (show) Do(a *hub.Answer, c *hub.Command) { fmt.Printf("%v %q\n", c.Verb, c.Data.Bytes) }
func (show) Done(*hub.Answer, error)          {}

func Example() {
	now := time.Unix(1732288000, 0)
	f, err := throttle.New(throttle.Options{Every: time.Minute, Now: func() time.Time { return now }})
	if err != nil {
		fmt.Println(err)
		return
	}
	for i := range 4 {
		m := hub.Message{Type: "reading/greenhouse", Time: now, Data: hub.Data{Bytes: fmt.Append(nil, i)}}
		f.Handle(&m, hub.NewAnswer(&m, show{}))
		now = now.Add(30 * time.Second)
	}
	// Output:
	// pass "0"
	// drop ""
	// pass "2"
	// drop ""
}
