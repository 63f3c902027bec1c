package wire_test

import (
	"fmt"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/wire"
)

// A message goes to a handler process, which answers with two commands.
func Example() {
	payload, err := wire.AppendMessage(nil, 3, wire.KindHandle, &hub.Message{
		Type: "reading/cellar",
		From: hub.Address{User: "cellar"},
		Data: hub.Data{Encoding: hub.JSON, Bytes: []byte(`{"v":21.5}`)},
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	// In the handler: the tag has been cut off by tristanable.
	var decoder wire.Decoder
	var m hub.Message
	_, kind, body, _ := wire.Cut(payload)
	if err := decoder.Message(body, &m); err != nil {
		fmt.Println(err)
		return
	}
	json, _ := wire.AppendJSON(nil, m.Data)
	fmt.Printf("kind %d: %s from %s: %s\n", kind, m.Type, m.From, json)

	var answer wire.AnswerEncoder
	answer.Begin(nil, 3)
	answer.Command(&hub.Command{Verb: hub.Pass, Data: m.Data})
	answer.Command(&hub.Command{Verb: hub.SendClients, Data: m.Data, To: []hub.Address{{User: "alice"}}})
	payload = answer.End(nil)

	// In the hub again.
	_, _, body, _ = wire.Cut(payload)
	a, err := decoder.Answer(body)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, c := range a.Commands {
		fmt.Println(c.Verb, c.To)
	}
	// Output:
	// kind 5: reading/cellar from cellar: {"v":21.5}
	// pass []
	// sendClients [alice]
}

func ExampleToMessagePack() {
	packed, err := wire.ToMessagePack(nil, []byte(`[1, 1.0, 123456789012345678901234567890]`))
	if err != nil {
		fmt.Println(err)
		return
	}
	json, _ := wire.ToJSON(nil, packed)
	fmt.Printf("%x\n%s\n", packed[:11], json)
	// Output:
	// 9301cb3ff0000000000000
	// [1,1.0,123456789012345678901234567890]
}

func ExampleParseClassicMessage() {
	var d wire.Decoder
	var m wire.ClassicMessage
	frame := []byte(`{"header":{},"payload":{"type":"mail","id":"5","data":{"subject":"hi"}}}`)
	if err := wire.ParseClassicMessage(frame, &d, &m); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s %s\n", m.Type, m.Data.Bytes)
	fmt.Printf("%s\n", wire.AppendClassicStatus(nil, m.ID, nil))
	// Output:
	// mail {"subject":"hi"}
	// {"header":{"messageType":"statusReport","status":"good"},"payload":{"id":"5"}}
}

func ExampleParseStatus() {
	payload := wire.AppendStatus(nil, 7, fmt.Errorf("type %q: %w", "mail", hub.ErrNoHandler))
	_, _, body, _ := wire.Cut(payload)
	fmt.Println(wire.ParseStatus(body))
	// Output: type "mail": no handler for this type
}
