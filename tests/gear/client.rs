//! A client that speaks raw HTTP/1.1, and waiting for what must come.
use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// How long a test waits for what must come.
pub const DEADLINE: Duration = Duration::from_secs(10);

pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("not within {DEADLINE:?}: {what}"))
}

/// Waits until a condition holds.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    soon(what, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

/// A raw connection.
pub struct Client(pub TcpStream);

/// A response as it came.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .skip(1)
            .find_map(|line| line.split_once(": ").filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value))
    }
}

impl Client {
    pub async fn write(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    pub async fn send(&mut self, text: &str) -> Answer {
        self.write(text).await;
        self.read(!text.starts_with("HEAD")).await
    }

    /// One response: by its length, its chunks, or the end of the stream.
    pub async fn read(&mut self, with_body: bool) -> Answer {
        let head = soon("a response's head", self.until("\r\n\r\n")).await;
        let status = head.split(' ').nth(1).unwrap_or_else(|| panic!("no response: {head:?}")).parse().unwrap();
        let mut answer = Answer { status, head, body: String::new() };
        if !with_body || status == 101 || status == 100 || status == 304 {
            return answer;
        }
        answer.body = match (answer.header("content-length"), answer.header("transfer-encoding")) {
            (Some(length), _) => {
                let mut body = vec![0; length.parse().unwrap()];
                soon("a body", self.0.read_exact(&mut body)).await.unwrap();
                String::from_utf8(body).unwrap()
            }
            (None, Some(_)) => soon("chunks", self.chunks()).await,
            (None, None) => soon("the end", self.rest()).await,
        };
        answer
    }

    async fn until(&mut self, end: &str) -> String {
        let mut text = Vec::new();
        while !text.ends_with(end.as_bytes()) {
            let mut byte = [0];
            if self.0.read(&mut byte).await.unwrap_or(0) == 0 {
                break;
            }
            text.push(byte[0]);
        }
        String::from_utf8(text).unwrap()
    }

    async fn chunks(&mut self) -> String {
        let mut body = String::new();
        loop {
            let line = self.until("\r\n").await;
            let length = usize::from_str_radix(line.trim(), 16).unwrap();
            let mut chunk = vec![0; length + 2];
            self.0.read_exact(&mut chunk).await.unwrap();
            if length == 0 {
                return body;
            }
            body.push_str(std::str::from_utf8(&chunk[..length]).unwrap());
        }
    }

    /// All until the end of the stream.
    pub async fn rest(&mut self) -> String {
        let mut text = Vec::new();
        // A reset is an end as well.
        let _ = self.0.read_to_end(&mut text).await;
        String::from_utf8(text).unwrap()
    }
}
