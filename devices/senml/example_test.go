package senml_test

import (
	"fmt"
	"time"

	"github.com/besterhub/bester/devices/senml"
	"github.com/besterhub/bester/hub"
)

func ExamplePack() {
	var p senml.Pack
	p.Reset(hub.JSON, "greenhouse/bme280/", time.Unix(1732288000, 0))
	p.Number("temperature", "Cel", 21.4, time.Time{})
	p.Number("humidity", "%RH", 55, time.Time{})
	data, err := p.Data()
	fmt.Println(string(data.Bytes), err)
	// Output: [{"bn":"greenhouse/bme280/","bt":1732288000,"n":"temperature","u":"Cel","v":21.4},{"n":"humidity","u":"%RH","v":55}] <nil>
}

func ExampleReader() {
	data := hub.Data{Encoding: hub.JSON, Bytes: []byte(
		`[{"bn":"greenhouse/","bt":1732288000,"n":"temperature","u":"Cel","v":21.4},{"n":"door","vb":true}]`)}
	var r senml.Reader
	r.Reset(data)
	for r.Next() {
		rec := r.Record()
		fmt.Printf("%s %v %s at %s\n", rec.Name, rec.Number, rec.Unit, rec.At(time.Now()).UTC().Format(time.TimeOnly))
		if rec.Kind == senml.Bool {
			r.Keep()
		}
	}
	if err := r.Err(); err != nil {
		fmt.Println(err)
		return
	}
	kept, n := r.Kept()
	fmt.Println(n, string(kept.Bytes))
	// Output:
	// greenhouse/temperature 21.4 Cel at 15:06:40
	// greenhouse/door 1  at 15:06:40
	// 1 [{"bn":"greenhouse/","bt":1732288000,"n":"door","vb":true}]
}
