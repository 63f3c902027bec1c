package classictest

import (
	"fmt"
	"strings"
	"testing"
)

// The first frame of a client.
func TestLogin(t *testing.T) {
	t.Parallel()
	hub := start(t, serverConf{handlers: []string{"echo"}})
	echo := hub.answer("echo", toUsers("alice"))
	authentication := fmt.Sprintf(`"header":{"scope":"client","authentication":{"username":"alice","password":%s}}`, quote(passwordOf("alice")))

	// First frame authenticates and is never dispatched
	t.Run("first_frame_is_never_dispatched", func(t *testing.T) {
		c := hub.withT(t).dial()
		c.send(`{` + authentication + `,"payload":{"type":"echo","id":"1","data":"the first"}}`)
		c.want(loggedIn)
		c.send(message("echo", "2", `"the second"`))
		c.want(received(`"the second"`, "echo"), good("2"))
		if got := <-echo.got; got != `"the second"` {
			t.Errorf("the handler got %s", got)
		}
	})

	// its payload may hold anything or be absent
	for name, payload := range map[string]string{
		"absent": "", "null": `,"payload":null`, "number": `,"payload":1`, "text": `,"payload":"x"`, "list": `,"payload":[{}]`,
		"object": `,"payload":{"type":1}`, "message": `,"payload":{"type":"nobody's","id":"1","data":null}`,
	} {
		t.Run("payload_"+name, func(t *testing.T) {
			c := hub.withT(t).dial()
			c.send(`{` + authentication + payload + `}`)
			c.want(loggedIn)
			c.wantAlive()
		})
	}
	t.Run("keys_in_any_order", func(t *testing.T) {
		c := hub.withT(t).dial()
		c.send(fmt.Sprintf(` {"payload" : 1 , "more":[], "header" :
			{"authentication":{"password":%s,"username":"al\u0069ce","x":1}, "y":{}, "scope":"client"}} `, quote(passwordOf("alice"))))
		c.want(loggedIn)
	})

	// on success answer exactly …
	t.Run("answer_on_success", func(t *testing.T) {
		c := hub.withT(t).dial()
		c.send(login("alice", passwordOf("alice")))
		c.want(`{"header":{"messageType":"statusReport","status":"good"},"payload":{"id":"auth_special"}}`)
		c.wantAlive()
	})

	// Who has been told so is logged in: what is sent now arrives.
	t.Run("logged_in_when_it_is_answered", func(t *testing.T) {
		hub := hub.withT(t)
		sender, i := hub.login("bob"), dial(t, hub.informer())
		for n := range scaled(300) {
			id := fmt.Sprint(n)
			c := hub.login("alice")
			sender.send(message("echo", id, id))
			c.want(received(id, "echo"))
			sender.want(good(id))
			i.send(`{"command":{"type":"isClient","data":"alice"}}`)
			i.want(`{"data":true,"status":"0"}`)
			c.Close()
		}
	})
	t.Run("answer_comes_before_any_message", func(t *testing.T) {
		hub := hub.withT(t)
		sender, stop := hub.login("bob"), make(chan bool)
		go func() {
			defer close(stop)
			for n := range scaled(3000) {
				sender.Write(frame(message("echo", fmt.Sprint(n), "1")))
			}
			sender.halfClose()
		}()
		for busy := true; busy; {
			hub.login("alice").Close() // login wants the answer first
			select {
			case <-stop:
				busy = false
			default:
			}
		}
		for n := range scaled(3000) {
			sender.want(good(fmt.Sprint(n)))
		}
		sender.wantClosed()
	})

	// Names are compared byte for byte, case-sensitive
	t.Run("names_are_case-sensitive", func(t *testing.T) {
		hub := hub.withT(t)
		small, big := hub.login("alice"), hub.login("Alice")
		small.send(message("echo", "1", "1"))
		small.want(received("1", "echo"), good("1"))
		big.wantAlive() // and nothing came for it
		c := hub.dial()
		c.send(login("ALICE", passwordOf("alice")))
		c.wantBad(`"auth_special"`)
		c.wantClosed()
	})
	t.Run("names_are_compared_byte_for_byte", func(t *testing.T) {
		c := hub.withT(t).login("Frédéric") // each é one character
		c.wantAlive()
		c = hub.withT(t).dial()
		c.send(login("Fre\u0301de\u0301ric", passwordOf("Frédéric"))) // each é two
		c.wantBad(`"auth_special"`)
		c.wantClosed()
	})

	// a blank name or empty password is refused; the password is checked against the
	// accounts; on refusal answer the same with "status":"bad", then close
	for name, first := range map[string]string{
		"blank_name":           login("", passwordOf("alice")),
		"name_of_spaces":       login("  ", passwordOf("alice")),
		"empty_password":       login("alice", ""),
		"wrong_password":       login("alice", passwordOf("bob")),
		"prefix_of_password":   login("alice", passwordOf("alice")[:8]),
		"password_and_more":    login("alice", passwordOf("alice")+" "),
		"password_and_NUL":     login("alice", passwordOf("alice")+"\x00"),
		"unknown_user":         login("mallory", passwordOf("alice")),
		"name_with_space":      login("alice ", passwordOf("alice")),
		"very_long_name":       login(strings.Repeat("a", 3000), passwordOf("alice")),
		"very_long_password":   login("alice", strings.Repeat("a", 3000)),
		"name_with_server":     login("alice@127.0.0.1:1", passwordOf("alice")),
		"name_with_line_break": login("alice\n", passwordOf("alice")),
	} {
		t.Run("refused_"+name, func(t *testing.T) {
			c := hub.withT(t).dial()
			c.send(first, message("echo", "1", `"not logged in"`))
			c.wantBad(`"auth_special"`)
			c.wantClosed()
			hub.withT(t).wantLog("refused")
		})
	}
	t.Run("refused_without_telling_whether_the_name_exists", func(t *testing.T) {
		var answers []string
		for _, name := range []string{"alice", "mallory"} {
			c := hub.withT(t).dial()
			c.send(login(name, "wrong"))
			answers = append(answers, c.recv())
		}
		if answers[0] != answers[1] {
			t.Errorf("%s\n%s", answers[0], answers[1])
		}
	})

	// what is no first frame: closed, and nobody is logged in
	for name, first := range map[string]string{
		"empty":                   "",
		"no_object":               `[]`,
		"no_header":               `{"payload":{}}`,
		"header_no_object":        `{"header":"client"}`,
		"no_scope":                fmt.Sprintf(`{"header":{"authentication":{"username":"alice","password":%s}}}`, quote(passwordOf("alice"))),
		"unknown_scope":           fmt.Sprintf(`{"header":{"scope":"root","authentication":{"username":"alice","password":%s}}}`, quote(passwordOf("alice"))),
		"scope_no_string":         fmt.Sprintf(`{"header":{"scope":1,"authentication":{"username":"alice","password":%s}}}`, quote(passwordOf("alice"))),
		"no_authentication":       `{"header":{"scope":"client"}}`,
		"authentication_null":     `{"header":{"scope":"client","authentication":null}}`,
		"authentication_no_name":  fmt.Sprintf(`{"header":{"scope":"client","authentication":{"password":%s}}}`, quote(passwordOf("alice"))),
		"authentication_number":   `{"header":{"scope":"client","authentication":{"username":"alice","password":1}}}`,
		"authentication_no_word":  `{"header":{"scope":"client","authentication":{"username":"alice"}}}`,
		"malformed":               `{` + authentication + `,}`,
		"bytes_after_the_object":  `{` + authentication + `}{}`,
		"byte-order_mark":         "\ufeff{" + authentication + `}`,
		"surrogate_half_in_name":  strings.Replace(`{`+authentication+`}`, `"alice"`, `"\ud800"`, 1),
		"message_without_a_login": message("echo", "1", `"not logged in"`),
	} {
		t.Run("no_first_frame_"+name, func(t *testing.T) {
			c := hub.withT(t).dial()
			c.send(first, message("echo", "1", `"not logged in"`))
			if got, err := c.next(); err == nil {
				if strings.Contains(got, `"good"`) {
					t.Errorf("got %s", got)
				}
				c.wantClosed()
			}
		})
	}

	t.Run("nothing_of_all_that_was_dispatched", func(t *testing.T) {
		for len(echo.got) > 0 {
			if got := <-echo.got; got == `"not logged in"` {
				t.Errorf("the handler got %s", got)
			}
		}
	})
}

// Later frames of a client.
func TestMessage(t *testing.T) {
	t.Parallel()
	hub := start(t, serverConf{handlers: []string{"echo"}})
	echo := hub.answer("echo", toUsers("alice"))

	// header: any JSON, must exist
	for _, header := range []string{`null`, `{}`, `[]`, `0`, `"x"`, `{"scope":7}`, `{"deep":[[[{}]]]}`} {
		t.Run("header_"+header, func(t *testing.T) {
			c := hub.withT(t).login("alice")
			c.send(`{"header":` + header + `,"payload":{"type":"echo","id":"1","data":1}}`)
			c.want(received("1", "echo"), good("1"))
		})
	}

	// data may be null
	t.Run("data_null", func(t *testing.T) {
		c := hub.withT(t).login("alice")
		c.send(message("echo", "1", "null"))
		c.want(received("null", "echo"), good("1"))
	})

	// id may be empty and may repeat: it is an opaque string that is echoed
	for _, id := range []string{"", "1", "1", "two words", `"quoted\"`, "\n\t", "ä€😀", strings.Repeat("long", 1000)} {
		t.Run("id_is_echoed", func(t *testing.T) {
			c := hub.withT(t).login("alice")
			c.send(message("echo", id, "1"), message("nobody's", id, "1"), message("dummy", id, "1"))
			c.want(received("1", "echo"), good(id))
			c.wantBad(quote(id))
			c.want(`{"header":{"status":"0"},"payload":{"data":null,"id":` + quote(id) + `,"type":"dummy"}}`)
		})
	}

	// The header is not read again: scope and user are fixed by the first frame.
	t.Run("header_is_not_read_again", func(t *testing.T) {
		c := hub.withT(t).login("bob")
		for _, header := range []string{
			`{"scope":"server"}`,
			`{"scope":"client","authentication":{"username":"alice","password":` + quote(passwordOf("alice")) + `}}`,
			`{"scope":"client","authentication":{"username":"alice","password":"wrong"}}`,
		} {
			c.send(`{"header":` + header + `,"payload":{"type":"echo","id":"1","data":1}}`)
			c.want(good("1")) // alice has it: bob is still bob
		}
		c.wantAlive() // and still a client: a server's connection would have ended
	})

	// Anything else (a missing or wrongly typed field, top level not an object, empty
	// frame) closes the connection; before the close, a statusReport bad with the id
	// where one could be read and a reason
	for name, m := range map[string]struct{ frame, id string }{
		"empty_frame":         {``, `""`},
		"top_level_list":      {`[]`, `""`},
		"top_level_text":      {`"x"`, `""`},
		"top_level_number":    {`1`, `""`},
		"top_level_null":      {`null`, `""`},
		"empty_object":        {`{}`, `""`},
		"no_header":           {`{"payload":{"type":"echo","id":"7","data":"refused"}}`, `"7"`},
		"no_payload":          {`{"header":{}}`, `""`},
		"payload_null":        {`{"header":{},"payload":null}`, `""`},
		"payload_list":        {`{"header":{},"payload":[]}`, `""`},
		"payload_text":        {`{"header":{},"payload":"echo"}`, `""`},
		"no_type":             {`{"header":{},"payload":{"id":"7","data":"refused"}}`, `"7"`},
		"type_null":           {`{"header":{},"payload":{"type":null,"id":"7","data":"refused"}}`, `"7"`},
		"type_number":         {`{"header":{},"payload":{"type":1,"id":"7","data":"refused"}}`, `"7"`},
		"type_list":           {`{"header":{},"payload":{"type":["echo"],"id":"7","data":"refused"}}`, `"7"`},
		"no_id":               {`{"header":{},"payload":{"type":"echo","data":"refused"}}`, `""`},
		"id_null":             {`{"header":{},"payload":{"type":"echo","id":null,"data":"refused"}}`, `""`},
		"id_number":           {`{"header":{},"payload":{"type":"echo","id":7,"data":"refused"}}`, `""`},
		"id_object":           {`{"header":{},"payload":{"type":"echo","id":{"id":"7"},"data":"refused"}}`, `""`},
		"no_data":             {`{"header":{},"payload":{"type":"echo","id":"7"}}`, `"7"`},
		"dummy_without_data":  {`{"header":{},"payload":{"type":"dummy","id":"7"}}`, `"7"`},
		"dummy_without_id":    {`{"header":{},"payload":{"type":"dummy","data":1}}`, `""`},
		"keys_have_a_case":    {`{"Header":{},"Payload":{"Type":"echo","Id":"7","Data":"refused"}}`, `""`},
		"message_in_a_header": {`{"header":{"payload":{"type":"echo","id":"7","data":"refused"}}}`, `""`},
	} {
		t.Run("closed_"+name, func(t *testing.T) {
			c := hub.withT(t).login("bob")
			c.send(message("echo", "before", "1"), m.frame, message("echo", "after", `"refused"`))
			c.want(good("before"))
			c.wantBad(m.id)
			c.wantClosed()
		})
	}

	t.Run("nothing_of_all_that_was_dispatched", func(t *testing.T) {
		for len(echo.got) > 0 {
			if got := <-echo.got; got == `"refused"` {
				t.Errorf("the handler got %s", got)
			}
		}
	})
}

// JSON is read strictly (RFC 8259): statusReport bad with reason, then close.
func TestMalformedJSON(t *testing.T) {
	t.Parallel()
	hub := start(t, serverConf{handlers: []string{"echo"}})
	hub.answer("echo", toUsers("alice"))

	for name, body := range map[string]string{
		"no_JSON":               `hello`,
		"unended":               `{"header":{},"payload":{"type":"echo","id":"7","data":`,
		"unended_string":        `{"header":{},"payload":{"type":"echo","id":"7","data":"`,
		"unended_after_id":      `{"header":{},"payload":{"id":"7"`,
		"trailing_bytes":        message("echo", "7", "1") + `x`,
		"trailing_object":       message("echo", "7", "1") + message("echo", "8", "1"),
		"trailing_NUL":          message("echo", "7", "1") + "\x00",
		"trailing_comma_object": `{"header":{},"payload":{"type":"echo","id":"7","data":1,}}`,
		"trailing_comma_list":   message("echo", "7", "[1,]"),
		"comma_alone":           message("echo", "7", "[,]"),
		"two_commas":            message("echo", "7", "[1,,2]"),
		"NaN":                   message("echo", "7", "NaN"),
		"Infinity":              message("echo", "7", "-Infinity"),
		"byte-order_mark":       "\ufeff" + message("echo", "7", "1"),
		"single_quotes":         `{'header':{},'payload':{'type':'echo','id':'7','data':1}}`,
		"bare_key":              `{header:{},payload:{type:"echo",id:"7",data:1}}`,
		"comment":               message("echo", "7", "1/*one*/"),
		"leading_zero":          message("echo", "7", "01"),
		"plus":                  message("echo", "7", "+1"),
		"point_first":           message("echo", "7", ".5"),
		"point_last":            message("echo", "7", "1."),
		"exponent_empty":        message("echo", "7", "1e"),
		"hexadecimal":           message("echo", "7", "0x10"),
		"True":                  message("echo", "7", "True"),
		"control_character":     message("echo", "7", "\"a\nb\""),
		"unknown_escape":        message("echo", "7", `"\x41"`),
		"short_escape":          message("echo", "7", `"\u12"`),
		"not_UTF-8":             message("echo", "7", "\"\xff\""),
		"overlong_UTF-8":        message("echo", "7", "\"\xc0\xaf\""),
		"surrogate_in_UTF-8":    message("echo", "7", "\"\xed\xa0\x80\""),
		"no_colon":              message("echo", "7", `{"a" 1}`),
		"wrong_bracket":         message("echo", "7", `[1}`),
		"65_levels":             message("echo", "7", strings.Repeat("[", 65)+strings.Repeat("]", 65)),
		"65_levels_of_objects":  message("echo", "7", strings.Repeat(`{"a":`, 65)+"1"+strings.Repeat("}", 65)),
		"a_million_levels":      strings.Repeat("[", 1_000_000),
		"a_million_in_objects":  strings.Repeat(`{"":`, 250_000),
	} {
		t.Run(name, func(t *testing.T) {
			c := hub.withT(t).login("bob")
			go c.Write([]byte(string(frame(body)) + string(frame(message("echo", "after", "1")))))
			got := c.recv()
			id := `""`
			if strings.Contains(got, `"id":"7"`) { // where it was known by then
				id = `"7"`
			}
			wantBad(t, got, id)
			c.wantClosed()
		})
	}

	// nesting over 64 levels too: of the data, which the frame is around
	t.Run("64_levels_are_allowed", func(t *testing.T) {
		c := hub.withT(t).login("alice")
		deep := strings.Repeat("[", 64) + strings.Repeat("]", 64)
		c.send(message("echo", "1", deep))
		c.want(received(deep, "echo"), good("1"))
	})
	t.Run("white_space_is_allowed", func(t *testing.T) {
		c := hub.withT(t).login("alice")
		c.send(" \r\n\t{ \"header\" : { } , \"payload\" :\n{ \"type\" : \"echo\" , \"id\" : \"1\" , \"data\" : 1 } } \n")
		c.want(received("1", "echo"), good("1"))
	})
}
