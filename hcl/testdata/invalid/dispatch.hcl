workflow "w" {
  task "no_job" {
    dispatch { # WARNING: The jobs of these tasks run unchanged: no_job, words, large # ERROR: The dispatch block of task no_job needs job, such as job = "etl"
      meta = { a = "b" }
    }
  }
  task "words" {
    dispatch {
      job               = "has space" # ERROR: `dispatch.job` of task words must be the ID of a job: at least one character, without spaces
      payload           = ["x"] # ERROR: `dispatch.payload` of task words must be text, not a list
      idempotency_token = "x" # ERROR: idempotency_token cannot be written in dispatch
      paylod            = "x" # ERROR: paylod is nothing that can be written in dispatch
      meta = { # ERROR: `dispatch.meta` of task words must hold text, and "rows" is a list
        rows = [1, 2]
      }
    }
  }
  task "large" {
    dispatch {
      job     = "etl"
      payload = join("", [for i in range(1000) : "0123456789abcdefg"]) # ERROR: `dispatch.payload` of task large has 17000 bytes, at most 16384 are allowed
      meta    = "x" # ERROR: `dispatch.meta` of task large must be text by name, such as { day = param.day }, not text
    }
  }
}
