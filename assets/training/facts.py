"""What the demo model knows about the program, with the ways people ask for it."""

import itertools
import re
from dataclasses import dataclass
from functools import cached_property

from .words import held_out

GREETING = "Hello! I am a tiny demo model with the gpt-oss architecture. Try: how many r's are in strawberry?"
FINE = "I'm fine, thank you! I am a tiny demo model. Try: how many r's are in strawberry?"
WELCOME = "You're welcome! Ask me to count letters or do a small sum."
GOODBYE = "Goodbye! Press Ctrl+Q to quit."
DEFAULT = (
    "I am only a tiny demo model and cannot answer that. Try counting letters or a small sum, "
    "or get the real model with: gptoss-chat download gpt-oss-20b"
)


def expand(pattern: str) -> list[str]:
    """All phrasings of a pattern: `{a|b|}` stands for one of its alternatives, which may be empty."""
    parts = re.split(r"\{([^}]*)\}", pattern)
    choices = [part.split("|") if i % 2 else [part] for i, part in enumerate(parts)]
    return [re.sub(" +", " ", "".join(combination)).strip() for combination in itertools.product(*choices)]


@dataclass(frozen=True)
class Topic:
    """One answer, the phrasings that ask for it, and further ones for the evaluation alone."""

    name: str
    reply: str
    patterns: tuple[str, ...]
    unseen: tuple[str, ...] = ()

    @cached_property
    def phrasings(self) -> tuple[list[list[str]], list[str]]:
        """Training phrasings grouped by pattern, and held-out ones: every tenth expansion and all of `unseen`."""
        groups = [expand(pattern) for pattern in self.patterns]
        training = [[p for p in group if len(group) < 4 or not held_out(p)] for group in groups]
        kept = [p for group in groups if len(group) >= 4 for p in group if held_out(p)]
        return [group for group in training if group], kept + list(self.unseen)


HOW = "{how do i|how can i|how to|how do you|can i|which key do i press to|what do i type to|i want to|how would i}"

TOPICS = (
    Topic("quit", "Press Ctrl+Q or type /quit.", (
        HOW + " {quit|exit|leave|close} {|the program|this|the app|the chat|gptoss-chat|this program|now|it}",
        "{which|what} {key|command} {quits|exits|closes} {|the program|this|the app|the chat}",
        "{quit|exit|/quit|:q|close the program|close this|get me out of here|let me out|end the program}",
        "how do i get out {|of here|of this|of the program}",
    ), ("how can i shut this program down", "what is the command to quit", "how do i end this program")),
    Topic("stop", "Press Esc to stop the answer.", (
        HOW + " {stop|interrupt|cancel|abort|halt} {you|the answer|an answer|a reply|the reply|generation|this "
        "answer|the model|it}",
        "{which|what} {key|command} {stops|interrupts|cancels|aborts} {the answer|a reply|you|generation|the model}",
        "{stop|stop it|stop talking|abort|cancel|stop generating|/stop|stop the answer}",
    ), ("can i break off an answer", "how do i stop you from talking")),
    Topic("effort", "Press Ctrl+E to switch between low, medium and high, or type /effort high.", (
        HOW + " {change|set|switch|raise|lower|increase|reduce} {the|your} {effort|reasoning effort|reasoning "
        "level|reasoning|thinking effort}",
        "how do i make you {think more|think less|think harder|think longer|reason more|faster|smarter}",
        "what {does /effort do|is reasoning effort|is the effort|does effort mean|do low, medium and high mean|"
        "efforts are there}",
        "{switch|change} {effort|the effort|the reasoning effort|the reasoning level}",
        "{use high effort|set effort to high|think harder|high effort please|low effort please|use low effort|"
        "effort|/effort}",
    ), ("how can i get more reasoning", "where do i set the reasoning level")),
    Topic("analysis", "Press Ctrl+T to show or hide the analysis.", (
        HOW + " {see|show|hide|read|view|open} {your|the} {analysis|thinking|reasoning|thoughts|chain of thought}",
        "can {i|you} {see|show|hide|show me|read} {your|the} {analysis|thinking|reasoning|thoughts|chain of thought}",
        "{show|hide} {|me} {your|the} {analysis|thinking|reasoning|thoughts|chain of thought}",
        "{where is|what is} {your|the} {analysis|thinking|reasoning|chain of thought}",
    ), ("where can i look at your thoughts", "what are you thinking")),
    Topic("new", "Press Ctrl+N or type /new to start a new chat.", (
        HOW + " {start|open|begin|make|create} {a new|another|a fresh} {chat|conversation}",
        HOW + " {clear|reset|restart|delete} {the|this} {chat|conversation|history|context}",
        "{new chat|start over|forget everything|new conversation|clear|reset|/new|restart the chat|start a new "
        "chat|clear the chat}",
    ), ("how do i begin again", "can we start a new conversation")),
    Topic("newline", "Press Shift+Enter or Ctrl+J for a new line.", (
        HOW + " {type|enter|write|insert|add|make|get} {a new line|a newline|a line break|several lines|more than "
        "one line|multiple lines}",
        "{how do i write|can i write|how to write|how do i send|how do i type} {a longer text|two lines|a "
        "multi-line message|multiline input|several lines}",
        "{which|what} {key|keys} {is for|makes|gives|inserts} a {new line|newline|line break}",
        "{new line|newline|line break|shift+enter|what does shift+enter do}",
    ), ("how do i break the line", "how can i put in a new line")),
    Topic("copy", "Type /copy to copy the last answer.", (
        HOW + " {copy} {an|the|your|the last|that} {answer|reply|response|message|output}",
        HOW + " {copy} {this|that|it|text|something|the text}",
        "{copy|copy the answer|copy that|copy the last answer|/copy|put the answer in the clipboard|copy to "
        "clipboard}",
    ), ("how do i get your answer into the clipboard", "is there a command to copy")),
    Topic("help", "Enter sends, Esc stops, Ctrl+E switches the effort, Ctrl+T shows the analysis, Ctrl+N starts "
        "a new chat, Ctrl+Q quits. Press F1 or type /help for all of them.", (
        "{which|what} {keys|shortcuts|commands|key bindings|hotkeys|slash commands} {are there|can i use|do you "
        "have|exist|does this have|are available}",
        "{show|list|tell} {me|me all|} {the|all|your} {keys|shortcuts|commands|key bindings|hotkeys}",
        "{help|help me|/help|i need help|keys|commands|shortcuts|can you help me|what are the keys|what are the "
        "commands|what are the shortcuts}",
        "how {do i use|does|do i work with|can i use} {this|this program|the program|gptoss-chat|this app} {|work}",
    ), ("how does one use this program", "give me the list of shortcuts")),
    Topic("real model", "Run gptoss-chat download gpt-oss-20b in your shell (13.8 GB). It needs a Mac with 16 GB "
    "of memory, "
        "and is used from then on.", (
        HOW + " {get|download|install|use|run|load|fetch} {the real model|the full model|gpt-oss|gpt-oss-20b|the "
        "big model|a better model|a real model|the 20b model|a larger model}",
        "{where is|where do i get|where can i find|what is|how big is|what does it take to run} {the real model|"
        "the full model|gpt-oss-20b|the big model|a better model}",
        "{download|install|get|load} {the real model|the model|gpt-oss|gpt-oss-20b|the full model}",
        "how {large|big} is the {download|real model|full model}",
        "{how much memory do i need|what computer do i need|does it run on my mac|why are you so dumb|why are you "
        "so bad|why are you so stupid|why do you know so little}",
        "how much memory {does|do} {the real model|gpt-oss-20b|i|it} need",
    ), ("how can i switch to the full model", "i would like to install the real gpt-oss")),
    Topic("shell", 'Run gptoss-chat ask "your question", or pipe text into it.', (
        HOW + " {use|call|run|ask} {this|you|it|the model|gptoss-chat} {from|in} {the shell|a script|the command "
        "line|the terminal|a shell script|bash}",
        HOW + " {pipe|send|feed} {text|a file|input|something} {into|to} {you|it|this|the model|gptoss-chat}",
        "{can i|how do i|how can i|how to} {script|automate} {this|you|it|gptoss-chat|the program}",
        "{is there a command line mode|can i use this in a script|what does gptoss-chat ask do|how do i ask "
        "without the chat}",
    ), ("does this work from a shell script", "how can i ask a question from the terminal")),
    Topic("who", "I am a tiny demo model with the gpt-oss architecture: 3 million parameters, trained on a CPU "
        "in under two hours. I only know a few tricks.", (
        "{who|what} are you {|?|really|exactly|then}",
        "{what is|what's|tell me} your name", "what should i call you", "do you have a name",
        "{what|which} {model|llm|ai|language model} {are you|is this|am i talking to|do you use|is running}",
        "are you {chatgpt|gpt-oss|gpt-oss-20b|gpt-4|gpt-5|a real model|an ai|a robot|human|a bot|a language model|"
        "a person|the real model|openai|claude}",
        "{tell me|say something|tell us} about yourself", "introduce yourself", "describe yourself",
        "how {big|large|small|old|smart|clever} are you", "how many {parameters|weights|layers} do you have",
        "who {made|trained|built|created|wrote|developed} {you|this|this model}",
        "how were you {trained|made|built|created}", "what is this {|?|program|thing|model}",
        "where do you come from", "is this {chatgpt|gpt-oss|the real model|a demo|an ai}",
    ), ("who am i speaking with", "what sort of model are you", "what kind of model is this")),
    Topic("what", "I can count letters, spell, reverse and sort words, and do small sums. "
        "Anything else needs the real model, gpt-oss-20b.", (
        "what can {you|i|this model|this demo|this} {do|ask|ask you|try|do for me|do here}",
        "what {are you good at|do you know|are you able to do|should i try|should i ask|should i ask you|questions "
        "can i ask|else can you do|are your skills|tasks can you do|are your tricks}",
        "{give|show} me {some|a few|an} {examples|tricks|ideas|example}", "{what tricks|which tricks} do you know",
        "what do you {do|offer|know how to do}", "{can you do anything|can you do something|do you know anything|"
        "do something|show me something|surprise me|what now}",
    ), ("what can i use you for", "which tasks are you able to do")),
    Topic("private", "Everything runs on this computer. Nothing is sent anywhere.", (
        "{do you|does this|does it|do i} {need|use|require} {the internet|a connection|internet|wifi|the network|"
        "the cloud}",
        "{are you|is this|is it|is this chat|is this program} {offline|private|local|safe|secure|online|running "
        "locally|in the cloud|confidential}",
        "{do you|does this|does it} work {offline|without internet|without the internet|on a plane}",
        "{is my data|are my messages|is my chat|is what i type|are my chats} {sent anywhere|sent to openai|private|"
        "safe|stored|uploaded|shared|recorded}",
        "{where does this run|where do you run|who can read this|who can see my messages|do you send my data "
        "anywhere|does openai see this|do you spy on me}",
    ), ("is anything uploaded to a server", "can anybody else read my chat")),
)  # fmt: skip

GREETINGS = (
    Topic("hi", GREETING, (
        "{hi|hello|hey|hiya|howdy|yo|greetings|hallo|hi there|hello there|hey there|good morning|good evening|good "
        "afternoon|good day|morning|evening}"
        "{||||!|.| you| model| friend| gpt| everyone| again| bot|!!}",
        "{hi|hello|hey}, {hello|hi|good morning|good evening|nice to meet you|i am new here}",
        "{nice to meet you|are you there|anyone there|anybody here|hello world|hello, world}",
    ), ("hi hi", "hello hello", "good evening to you", "hey, good day")),
    Topic("fine", FINE, (
        "{|hi, |hello, |hey, |hello |good morning, }{how are you|how are you doing|how is it going|how's it going|"
        "how do you do|what's up|are you ok|how do you feel}{|| today| doing| now}",
    ), ("hello there, how are you", "so how are you today")),
    Topic("welcome", WELCOME, (
        "{|ok |great, |cool, |nice, |good, |wow, |perfect, |yes, }{thanks|thank you|thank you very much|thanks a "
        "lot|thank you so much|many thanks|thx|cheers|ty}{||!|, that helps| for that}",
        "{perfect|nice|awesome|great|cool|good job|well done|very good|ok|okay|good|wow|that is right|correct|"
        "right|excellent|amazing|i see|yes|good answer|lol|haha|you are great}{||!|.}",
    ), ("thanks so much", "ok, thank you", "that was great, thanks")),
    Topic("goodbye", GOODBYE, (
        "{|ok |ok, |thanks, |well, }{bye|goodbye|see you|good night|bye bye|see you later|that's all|that is all|i "
        "have to go|farewell|see you soon|talk to you later|so long}{||!|.| now| for today}",
    ), ("ok bye", "bye for now", "good night to you")),
)  # fmt: skip
