"""An arm's own words around a prompt: a template, and a system message."""

from dataclasses import dataclass, replace

from workbench.experiment.arm_spec import PLACE_OF_PROMPT
from workbench.types import Prompt


@dataclass(frozen=True, slots=True)
class Phrasing:
    """What is asked in the place of a prompt; None: the prompt's own text, or system message."""

    template: str | None = None
    system: str | None = None

    def of(self, prompt: Prompt) -> Prompt:
        """The prompt as it is asked: the same id, reference and task, in these words.

        >>> Phrasing("{prompt} Be brief.").of(Prompt("p", "What is {x}?")).text
        'What is {x}? Be brief.'
        """
        if self.template is None and self.system is None:
            return prompt
        text = prompt.text if self.template is None else self.template.replace(PLACE_OF_PROMPT, prompt.text)
        return replace(prompt, text=text, system=prompt.system if self.system is None else self.system)


AS_IT_IS = Phrasing()
